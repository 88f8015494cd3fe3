import json

import pytest

from inference.contract.rank_event import RankEvent
from inference.rank_results.as_written import collect, write_as_combined
from inference.storage.store import Store
from tests.inference.runs.test_map_items import EVENT

RECORD = {"total_cpu_time (seconds)": 2.0, "sample_persec": 150.0, "data_path": "survey/1.pt"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def events(ranks=4):
    wires = [EVENT | {"RANK": str(rank), "WORLD_SIZE": str(ranks), "DATA_BUCKET": "data-test"} for rank in range(ranks)]
    return [RankEvent.from_wire(wire) for wire in wires]


def write(store, rank, document, bucket="cosmicai-test"):
    store.write(bucket, f"results/test/{rank}.json", json.dumps(document).encode())


def test_records_of_lists_and_of_the_data_bucket_are_found(store):
    write(store, 0, RECORD)
    write(store, 1, [RECORD | {"data_path": "a"}, RECORD | {"data_path": "b"}])
    write(store, 2, RECORD | {"data_path": "c"}, "data-test")
    found = collect(store, events(3))
    assert [record["data_path"] for record in found.records] == ["survey/1.pt", "a", "b", "c"]
    assert found.missing == ()


def test_ranks_with_half_a_file_or_none_are_missing(store):
    write(store, 0, RECORD)
    store.write("cosmicai-test", "results/test/1.json", b'{"total_cpu')
    write(store, 2, "done")
    assert collect(store, events()).missing == (1, 2, 3)


@pytest.mark.parametrize(("ranks", "name"), [(1, "combined_data.json"), (2, "combined_data.partial.json")])
def test_combined_file_is_called_partial_where_ranks_are_missing(store, ranks, name):
    write(store, 0, RECORD)
    key = write_as_combined(store, "cosmicai-test", "results/test", collect(store, events(ranks)))
    assert key == f"results/test/{name}"
    assert json.loads(store.read("cosmicai-test", key)) == [RECORD]
