import json
import time

import httpx
import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.events.worker import EventsWorker

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.compare import LAST_GOOD, compare_with_last_good
from tasks.sweeps.comparison_table import REGRESSION
from tasks.sweeps.report import describe_sweep
from tests.support.swept import measured

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
BUCKET = "cosmicai-test"


def night(seed, speed=1.0, failed=0):
    runs = measured(noise=0.01, speed=speed, seed=seed)
    document = json.loads(json.dumps(describe_sweep("tiny", "", runs)))
    for run in document["measurements"][:failed]:
        run |= {"failed": "no bread", "document": {}}
    document["failed"] = [{"axes": {}, "repeat": 1, "error": "no bread"}] * failed
    return document


@flow
def one(document, root):
    return compare_with_last_good(document, BUCKET, root, 1.1)


@pytest.fixture
def good(tmp_path):
    """The document that is kept as the last good night's, or None."""
    (tmp_path / BUCKET).mkdir()
    store = Store(str(tmp_path))

    def read():
        key = f"sweeps/tiny/{LAST_GOOD}"
        return json.loads(store.read(BUCKET, key)) if store.head(BUCKET, key) else None

    read.root = str(tmp_path)
    return read


def test_the_first_whole_night_is_good_and_the_second_is_held_against_it(good):
    first, second = night(1), night(2)
    assert one(first, good.root)["rows"] == []
    assert good() == first
    comparison = one(second, good.root)
    assert comparison["tripped"] == []
    assert {row["metric"] for row in comparison["rows"]} >= {"makespan_s", "usd"}
    assert good() == second
    assert Artifact.get("sweep-tiny-gate").type == "table"


def test_a_slower_night_trips_and_does_not_become_the_measure_of_the_next(good):
    first = night(1)
    one(first, good.root)
    for seed in (2, 3):
        assert any("makespan" in message.lower() for message in one(night(seed, speed=0.5), good.root)["tripped"])
        assert good() == first


def test_a_slower_night_is_an_event_on_the_server(good, prefect_api):
    one(night(1), good.root)
    one(night(2, speed=0.5), good.root)
    EventsWorker.drain_all()
    wanted = {"filter": {"event": {"name": [REGRESSION]}}}
    for _ in range(100):
        events = httpx.post(f"{prefect_api}/events/filter", json=wanted).json()["events"]
        # Other tests raise the event too: only here nothing failed, the sweep is this one, and the makespan trips.
        events = [
            event
            for event in events
            if event["resource"]["prefect.resource.id"] == "cosmic.comparison.sweep-tiny-gate"
            and "makespan" in str(event["payload"]["tripped"]).lower()
        ]
        if events:
            break
        time.sleep(0.1)
    assert events


def test_a_night_with_failed_runs_trips_with_their_cause_and_is_not_good(good):
    first = night(1)
    one(first, good.root)
    for count in (1, first["runs"]):
        comparison = one(night(2, failed=count), good.root)
        assert comparison["tripped"] == [f"{count} of {first['runs']} runs failed, the first because no bread"]
    assert good() == first


def test_a_damaged_last_night_is_named(good, tmp_path):
    Store(good.root).write(BUCKET, f"sweeps/tiny/{LAST_GOOD}", b"{")
    with pytest.raises(BadInput, match=r"cosmicai-test/sweeps/tiny/last-good\.json is damaged: it is not JSON: "):
        one(night(1), good.root)
