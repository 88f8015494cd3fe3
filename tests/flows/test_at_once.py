"""Two runs at once in one bucket."""

from collections import Counter

import pytest

from inference.runs.begin import LEASES
from inference.storage.lease import Lease
from tests.support.run_harness import local_scene
from tests.support.surveys import snapshot

pytestmark = pytest.mark.slow


@pytest.fixture
def scene(store, tmp_path, prefect_server):
    return local_scene(tmp_path / "scene", store / "cosmicai-test", prefect_server, slow_s=0.2)


def test_the_same_request_twice_does_the_work_once_and_the_second_says_who_has_it(scene):
    hold = scene.folder / "hold"
    hold.touch()
    first = scene.start("one", COSMIC_HOLD=str(hold))
    scene.wait_for_calls(1, first)
    second = scene.start("two")
    assert second.wait(timeout=200) == 1
    (told,) = (scene.folder / "errtwo").read_text().splitlines()
    assert told.startswith("cosmic run: cosmicai-test/results/test is held by run ")
    assert f"pid {first.pid})" in told
    assert "nothing was written" in told
    assert (scene.folder / "outtwo").read_text() == ""
    hold.unlink()
    document = scene.end(first, "one")
    assert document["run_id"] in told
    assert Counter(rank for rank, _ in scene.calls()) == Counter(range(4))
    assert scene.end(scene.start("three"), "three") == document, "and afterwards it is answered from what lies there"


def test_different_requests_do_not_touch_each_other(scene):
    first, second = scene.start("one"), scene.start("two", {"result_path": "results/test2", "batch_size": 7})
    one, two = scene.end(first, "one"), scene.end(second, "two")
    assert (one["ranks_done"], two["ranks_done"]) == (4, 4)
    assert one["metrics"] == pytest.approx(two["metrics"], rel=1e-4)
    assert len(scene.calls()) == 8


def test_a_run_that_is_refused_leaves_everything_as_it_was(scene):
    Lease(scene.store, "cosmicai-test", f"{LEASES}/results/test", "a run elsewhere").take(60)
    before = snapshot(scene.folder / "store")
    assert scene.start("one").wait(timeout=200) == 1
    assert "is held by run a run elsewhere" in (scene.folder / "errone").read_text()
    assert snapshot(scene.folder / "store") == before
