import dataclasses
import json

import pytest

from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.partitions.partition import write_partition
from inference.rank_results.publish_summary import EXECUTIONS, INVOCATIONS, SUMMARIES
from inference.runs.begin import run_leases
from inference.runs.plan import Model, events_of
from inference.storage.lease import LeaseHeldError
from inference.storage.store import Store
from tests.support.started_run import start_run
from tests.support.surveys import random_survey, read_json, request_of, write_survey
from tests.support.wire_examples import RESULT

BUCKET = "cosmicai-test"
MODEL = Model("models/tiny.safetensors", "a" * 64)


@pytest.fixture
def store(tmp_path):
    write_survey(tmp_path / BUCKET / "survey", suffix=".safetensors")
    return Store(tmp_path)


@pytest.fixture
def results(tmp_path):
    return tmp_path / BUCKET / "results" / "test"


def request(**changes):
    return RunRequest.read(request_of(**changes))


def finish(store, start, rank):
    """Put a rank's result where the plan wants it."""
    event = start.plan.events[rank]
    key = f"results/test/predictions/{rank}.1-0123abcd.safetensors"
    result = dataclasses.replace(
        RESULT,
        rank=rank,
        world_size=event.world_size,
        fingerprint=event.fingerprint,
        data_path=event.data_paths[0],
        predictions_path=key,
    )
    store.write(BUCKET, key, b"redshifts")
    store.write(BUCKET, f"results/test/{rank}.json", json.dumps(result.to_wire()).encode())


def test_ranks_that_are_done_are_resumed(store):
    finish(store, start_run(store, request(), MODEL, "one"), 2)
    assert start_run(store, request(), MODEL, "two").resumed == (2,)


def test_results_of_another_model_are_removed_with_their_products(store, results):
    finish(store, start_run(store, request(), MODEL, "one"), 2)
    for name in (*SUMMARIES, INVOCATIONS):
        (results / name).write_text("{}")
    assert start_run(store, request(), Model(MODEL.key, "b" * 64), "two").resumed == ()
    left = {path.name for path in results.rglob("*") if path.is_file()}
    assert left == {"payload.json", INVOCATIONS}


def test_a_fresh_start_puts_everything_away_the_bill_too(store, results):
    finish(store, start_run(store, request(), MODEL, "one"), 2)
    for name in (*SUMMARIES, INVOCATIONS, EXECUTIONS):
        (results / name).write_text("{}")
    assert start_run(store, request(), MODEL, "two", fresh=True).resumed == ()
    assert {path.name for path in results.rglob("*") if path.is_file()} == {"payload.json"}


def test_a_fresh_start_reads_no_result_of_a_rank(store, results):
    start = start_run(store, request(), MODEL, "one")
    for rank in range(start.plan.world_size):
        finish(store, start, rank)

    class Noting(Store):
        def read(self, bucket, key):
            read.append(key)
            return super().read(bucket, key)

    for fresh, expected in ((False, 4), (True, 0)):
        read = []
        start_run(Noting(store.root), request(), MODEL, f"two {fresh}", fresh=fresh)
        assert sum(key.removeprefix("results/test/").partition(".")[0].isdigit() for key in read) == expected
    assert {path.name for path in results.rglob("*") if path.is_file()} == {"payload.json"}


def test_the_plan_can_be_read_back_from_what_was_written_down(store, results):
    start = start_run(store, request(), MODEL, "one")
    document = read_json(results / "payload.json")
    read = events_of(document, RunRequest.of_payload(document))
    for event, planned in zip(read, start.plan.events, strict=True):
        assert (event.rank, event.fingerprint, event.data_paths) == (
            planned.rank,
            planned.fingerprint,
            planned.data_paths,
        )


def test_a_models_plan_stays_away_from_the_buckets_root(store, tmp_path):
    start_run(store, request(), MODEL, "one")
    assert not (tmp_path / BUCKET / "payload.json").exists()


def test_a_fresh_run_that_is_retried_keeps_what_it_did_before(store, results):
    finish(store, start_run(store, request(), MODEL, "one", fresh=True), 2)
    assert start_run(store, request(), MODEL, "one", fresh=True).resumed == (2,)
    assert start_run(store, request(), MODEL, "two", fresh=True).resumed == ()


def refuses(store, asked, message):
    with pytest.raises(LeaseHeldError, match=message), run_leases(store, asked, "two"):
        pass


class TestWhatAChangeTouches:
    SCRIPT = Script(folder="A B", entry="/tmp/A B/run.py", sha256="c" * 64)

    def finished(self, store, asked, what):
        """A run of which every rank is done."""
        start = start_run(store, asked, what, "one")
        for event in start.plan.events:
            finish(store, start, event.rank)
        assert start_run(store, asked, what, "two").resumed == tuple(range(len(start.plan.events)))

    def test_a_changed_partition_its_own_rank(self, store, tmp_path):
        self.finished(store, request(), MODEL)
        write_partition(tmp_path / BUCKET / "survey" / "2.safetensors", *random_survey(9, seed=9))
        assert start_run(store, request(), MODEL, "three").resumed == (0, 2, 3)

    def test_a_partition_that_came_last_no_other(self, store, tmp_path):
        self.finished(store, request(), MODEL)
        write_partition(tmp_path / BUCKET / "survey" / "9.safetensors", *random_survey(9, seed=9))
        start = start_run(store, request(), MODEL, "three")
        assert start.plan.world_size == 5
        assert start.resumed == (0, 1, 2, 3)

    def test_a_smaller_world_the_ranks_whose_share_is_another_one(self, store):
        self.finished(store, request(), MODEL)
        assert start_run(store, request(world_size=3), MODEL, "three").resumed == ()  # 0 has 1 and 2; 1 has 3; 2 has 4

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"batch_size": 17}, MODEL),
            ({"engine": "torch"}, MODEL),
            ({}, Model(MODEL.key, "b" * 64)),
            ({"model": None, "script": SCRIPT.entry, "S3_object_name": SCRIPT.folder}, SCRIPT),
        ],
        ids=["batch size", "engine", "model", "a script in its place"],
    )
    def test_what_every_rank_depends_on_all_ranks(self, store, changes, what):
        self.finished(store, request(), MODEL)
        assert start_run(store, request(**changes), what, "three").resumed == ()

    @pytest.mark.parametrize("changes", [{"memory_mb": 2048}, {"access": "stream"}, {"rank_timeout": 60}], ids=str)
    def test_what_no_redshift_depends_on_none(self, store, changes):
        self.finished(store, request(), MODEL)
        assert start_run(store, request(**changes), MODEL, "three").resumed == (0, 1, 2, 3)


class TestWhatIsHeld:
    def test_two_runs_under_one_result_path_exclude_each_other(self, store):
        with run_leases(store, request(), "one"):
            refuses(store, request(), "cosmicai-test/results/test is held by run one")
        with run_leases(store, request(), "two"):
            pass

    def test_runs_under_different_result_paths_do_not(self, store):
        with run_leases(store, request(), "one"), run_leases(store, request(result_path="results/test/deeper"), "two"):
            pass

    def test_scripts_of_one_bucket_do_because_they_share_payload_json(self, store):
        first = request(model=None, script="/tmp/A B/run.py", S3_object_name="A B")
        second = first.model_copy(update={"result_path": "results/other"})
        with run_leases(store, first, "one"):
            refuses(store, second, r"payload\.json at the root .* run one")
        with run_leases(store, second, "two"):  # the first lease of the one that was refused is not left behind
            pass
