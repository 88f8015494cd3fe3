import dataclasses

import pytest

from inference.rank_results.publish_summary import (
    BILLED,
    SUMMARIES,
    committed_folder,
    generation_folder,
    publish_summary,
    run_lease,
    withdraw,
)
from inference.storage.lease import LeaseHeldError
from inference.storage.store import Store

BUCKET, PATH = "cosmicai-test", "results/test"
NAMES = {*BILLED, *SUMMARIES}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def lease(store, run_id):
    return run_lease(store, BUCKET, PATH, run_id)


def take_over(store, run_id):
    """Take the lease as if its holder had slept for longer than the lease lives."""
    taken = lease(store, run_id)
    taken.append(dataclasses.replace(taken.newest(), seconds=0.0))
    return taken.take(60)


def summarize(store, held, names):
    """Write summaries that tell which generation wrote them."""
    for name in names:
        store.write(BUCKET, f"{generation_folder(PATH, held.generation)}/{name}", str(held.generation).encode())


def published(store):
    """What lies under the customary names, by name."""
    keys = {stored.key.removeprefix(f"{PATH}/"): stored.key for stored in store.list(BUCKET, PATH)}
    return {name: store.read(BUCKET, key).decode() for name, key in keys.items() if name in NAMES}


WHOLE = ("combined_data.json", "predictions.parquet", "summary.json", "report.html", "invocations.json")
PARTIAL = ("combined_data.partial.json", "summary.json", "report.html", "invocations.json")


def test_published_summaries_lie_under_the_customary_names(store):
    held = lease(store, "one").take(60)
    summarize(store, held, WHOLE)
    assert published(store) == {}
    publish_summary(held, PATH)
    assert published(store) == dict.fromkeys(WHOLE, "1")
    assert committed_folder(store, BUCKET, PATH) == generation_folder(PATH, 1)


def test_whole_and_partial_summaries_never_lie_side_by_side(store):
    for number, names in enumerate((PARTIAL, WHOLE, PARTIAL), 1):
        held = lease(store, f"run {number}").take(60, attended=True)
        summarize(store, held, names)
        publish_summary(held, PATH)
        assert published(store) == dict.fromkeys(names, str(held.generation))
        lease(store, f"run {number}").release()


@pytest.mark.parametrize("other_ended", [True, False])
def test_run_that_lost_its_lease_publishes_nothing(store, other_ended):
    stopped = lease(store, "stopped").take(60)
    summarize(store, stopped, PARTIAL)
    other = take_over(store, "other")
    summarize(store, other, WHOLE)
    if other_ended:
        publish_summary(other, PATH)
        lease(store, "other").release()
    with pytest.raises(LeaseHeldError):
        publish_summary(stopped, PATH)
    with pytest.raises(LeaseHeldError):
        withdraw(stopped, PATH)
    assert published(store) == (dict.fromkeys(WHOLE, str(other.generation)) if other_ended else {})


@pytest.mark.parametrize("at", range(len(PARTIAL)))
def test_run_stopped_while_it_publishes_replaces_nothing_of_the_next_one(store, monkeypatch, at):
    """The next run takes over, publishes and ends between two copies of the stopped one, and before each of them."""
    stopped = lease(store, "stopped").take(60)
    summarize(store, stopped, PARTIAL)
    copies = 0
    copy = Store.copy

    def interrupted(self, bucket, source, target):
        nonlocal copies
        copies += 1
        data = self.read(bucket, source) if self.head(bucket, source) else None
        if copies == at + 1:
            other = take_over(store, "other")
            summarize(store, other, WHOLE)
            with monkeypatch.context() as patch:
                patch.setattr(Store, "copy", copy)
                publish_summary(other, PATH)
            if data is not None:  # the stopped run's copy was on its way
                self.write(bucket, target, data)
                return True
        return copy(self, bucket, source, target)

    monkeypatch.setattr(Store, "copy", interrupted)
    publish_summary(stopped, PATH)
    assert published(store) == dict.fromkeys(WHOLE, "2")


def test_withdrawn_summaries_are_gone_and_the_bill_is_kept(store):
    held = lease(store, "one").take(60)
    summarize(store, held, WHOLE)
    publish_summary(held, PATH)
    withdraw(lease(store, "one").take(60, attended=True), PATH)
    assert set(published(store)) == {"invocations.json"}
    assert committed_folder(store, BUCKET, PATH) == PATH


def test_only_the_committed_generation_and_foreign_files_are_kept(store):
    store.write(BUCKET, f"{PATH}/.cosmic/00000001/notes.txt", b"a person's own")
    for number in range(3):
        held = lease(store, f"run {number}").take(60, attended=True)
        summarize(store, held, WHOLE)
        publish_summary(held, PATH)
        lease(store, f"run {number}").release()
    kept = {stored.key.split("/")[3] for stored in store.list(BUCKET, f"{PATH}/.cosmic")}
    assert kept == {"00000001", "00000003"}
    assert len(store.list(BUCKET, f"{PATH}/.cosmic/00000001")) == 1


def test_results_without_a_lease_are_read_by_their_customary_names(store):
    store.write(BUCKET, f"{PATH}/summary.json", b"{}")
    assert committed_folder(store, BUCKET, PATH) == PATH


@pytest.mark.slow
def test_summaries_are_fenced_over_s3_too(aws, filled_bucket, monkeypatch):
    monkeypatch.setattr(f"{__name__}.BUCKET", filled_bucket)
    monkeypatch.setattr(f"{__name__}.PATH", "results/fenced")
    store = Store("s3://")
    stopped = lease(store, "stopped").take(60)
    summarize(store, stopped, PARTIAL)
    publish_summary(stopped, PATH)
    assert published(store) == dict.fromkeys(PARTIAL, "1")
    with pytest.raises(LeaseHeldError, match="held by run stopped"):
        lease(store, "other").take(60)
    other = take_over(store, "other")
    summarize(store, other, WHOLE)
    publish_summary(other, PATH)
    with pytest.raises(LeaseHeldError, match="taken over by run other"):
        publish_summary(stopped, PATH)
    assert published(store) == dict.fromkeys(WHOLE, "2")
