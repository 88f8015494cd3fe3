"""Two runs at once in one bucket."""

import json
from collections import Counter

import pytest

from flows.cli import main
from inference.rank_results.publish_summary import LEASES
from inference.storage.lease import Lease
from tests.support.run_harness import local_run
from tests.support.surveys import snapshot

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(store, tmp_path, prefect_server):
    return local_run(tmp_path / "run", store / "cosmicai-test", prefect_server, slow_s=0.2)


def test_second_run_of_a_request_is_refused_naming_the_holder(harness):
    hold = harness.folder / "hold"
    hold.touch()
    first = harness.start("one", COSMIC_HOLD=str(hold))
    harness.wait_for_calls(1, first)
    second = harness.start("two")
    assert second.wait(timeout=200) == 1
    *before, shown = (harness.folder / "errtwo").read_text().splitlines()
    assert [line.split()[0] for line in before] == ["The", "Expected:"], "the page of the run, and what it may take"
    assert shown.startswith("cosmic run: cosmicai-test/results/test is held by run ")
    assert f"pid {first.pid})" in shown
    assert "nothing was written" in shown
    assert (harness.folder / "outtwo").read_text() == ""
    hold.unlink()
    document = harness.end(first, "one")
    assert document["run_id"] in shown
    assert Counter(rank for rank, _ in harness.calls()) == Counter(range(4))
    assert harness.end(harness.start("three"), "three") == document, "a third run is answered from the stored summary"


def test_two_runs_of_different_requests_do_not_affect_each_other(harness):
    first, second = harness.start("one"), harness.start("two", {"result_path": "results/test2", "batch_size": 7})
    one, two = harness.end(first, "one"), harness.end(second, "two")
    assert (one["ranks_done"], two["ranks_done"]) == (4, 4)
    assert one["metrics"] == pytest.approx(two["metrics"], rel=1e-4)
    assert len(harness.calls()) == 8


@pytest.mark.usefixtures("prefect_api")
def test_refused_run_writes_nothing(harness, capsys):
    Lease(harness.store, "cosmicai-test", f"{LEASES}/results/test", "a run elsewhere").take(60)
    path = harness.folder / "request.json"
    path.write_text(json.dumps(harness.request))
    before = snapshot(harness.folder / "store")
    assert main(["run", str(path), *harness.options]) == 1
    assert "is held by run a run elsewhere" in capsys.readouterr().err.replace("\n", " ")
    assert snapshot(harness.folder / "store") == before
