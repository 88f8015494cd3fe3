import dataclasses
import json

import pytest

from inference.contract.rank_result import RankResult
from inference.contract.script import Script
from inference.errors import RankFailed
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import gather, read_result
from inference.storage.store import Store
from tests.support.wire_examples import EVENT

BUCKET = "cosmicai-test"
SCRIPT = Script(folder="Anomaly Detection", entry="/tmp/Anomaly Detection/inference.py", sha256="c" * 64)
RANK = dataclasses.replace(EVENT, script=SCRIPT, model="", model_sha256="", graph=None)
RECORD = {
    "total_cpu_time (seconds)": 9.0,
    "total_cpu_memory (MB)": 17864.6,
    "execution_time (seconds/batch)": 3.6,
    "num_batches": 3,
    "batch_size": 512,
    "device": "cpu",
    "throughput_bps": 1278 * 164_160 / 9.0,
    "sample_persec": 1278 / 9.0,
    "result_path": "results/test",
    "data_path": "survey/4.pt",
    "note of its own": "kept",
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def put(store, record):
    data = record if isinstance(record, bytes) else json.dumps(record).encode()
    store.write(BUCKET, "results/test/3.json", data)


def adopted(store, record=RECORD):
    put(store, record)
    return import_external_result(
        store,
        RANK,
        started_at=100.0,
        ended_at=112.5,
        request_id="r-1",
        cold=True,
        wall_compute_s=11.0,
    )


def test_a_scripts_record_is_stamped_with_rank_and_fingerprint_and_counts(store):
    result = adopted(store)
    assert (result.rank, result.fingerprint, result.samples, result.num_batches) == (3, "f" * 32, 1278, 3)
    assert (result.wall_total_s, result.wall_compute_s, result.wall_read_s) == (12.5, 11.0, 0.0)
    assert read_result(store, RANK) == result
    assert gather(store, [RANK]).results == (result,)


def test_what_the_script_wrote_is_kept_to_the_letter(store):
    adopted(store)
    wire = json.loads(store.read(BUCKET, "results/test/3.json"))
    assert wire.items() >= {name: RECORD[name] for name in RECORD if name != "batch_size"}.items()
    assert RankResult.from_wire(wire).to_wire() == wire


def test_the_time_that_a_script_wrote_down_is_not_taken_for_the_ranks(store):
    result = adopted(store, RECORD | {"total_cpu_time (seconds)": 42.7})
    assert (result.wall_loop_s, result.wall_total_s) == (11.0, 12.5)
    assert result.to_wire()["total_cpu_time (seconds)"] == 42.7


def test_a_result_that_is_not_there_fails_the_rank(store):
    with pytest.raises(RankFailed, match=r"rank 3: .* wrote no result results/test/3\.json"):
        import_external_result(store, RANK, started_at=0.0, ended_at=1.0)


def test_a_record_for_each_partition_of_the_rank_counts_as_their_sum(store):
    two = dataclasses.replace(RANK, data_paths=("survey/4.pt", "survey/5.pt"), data_etags=())
    records = [RECORD | {"data_path": path, "num_batches": 2} for path in two.data_paths]
    store.write(BUCKET, "results/test/3.json", json.dumps(records).encode())
    result = import_external_result(store, two, started_at=0.0, ended_at=1.0)
    alone = round(RECORD["sample_persec"] * RECORD["total_cpu_time (seconds)"])
    assert (result.samples, result.num_batches) == (2 * alone, 4)
    assert result.to_wire()["records"] == records


@pytest.mark.parametrize("named", [{}, {"data_path": "survey/4.pt"}, {"data_path": ["survey/4.pt"]}])
def test_records_of_parts_of_a_partition_count_as_their_sum(store, named):
    parts = [{name: RECORD[name] for name in RECORD if name != "data_path"} | named] * 3
    result = adopted(store, json.dumps(parts).encode())
    assert (result.samples, result.data_path) == (3 * 1278, "survey/4.pt")
    assert read_result(store, RANK) == result


def test_records_that_are_not_of_its_partitions_are_refused(store):
    records = [RECORD, RECORD | {"data_path": "survey/5.pt"}]
    with pytest.raises(RankFailed, match=r"result is of 'survey/5\.pt', not of 'survey/4\.pt'"):
        adopted(store, json.dumps(records).encode())


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"{", "not JSON"),
        (b"[]", "is an empty list"),
        (b"3", "no JSON object"),
        ({"sample_persec": 3.0}, r"lacks 'total_cpu_time \(seconds\)'"),
        (RECORD | {"sample_persec": "fast"}, "wrong 'sample_persec'"),
        (RECORD | {"sample_persec": 0}, "wrong 'sample_persec'"),
        (RECORD | {"sample_persec": True}, "wrong 'sample_persec'"),
        (RECORD | {"sample_persec": 1e-9}, "counts no samples"),
        (RECORD | {"data_path": "survey/1.pt"}, "of 'survey/1.pt', not of 'survey/4.pt'"),
    ],
)
def test_a_record_that_is_none_fails_the_rank_and_says_why(store, record, expected):
    with pytest.raises(RankFailed, match=expected):
        adopted(store, record)
    assert read_result(store, RANK) is None


def test_a_result_of_the_built_in_engine_does_not_count_for_a_script(store):
    adopted(store)
    assert gather(store, [EVENT]).missing == (3,)
