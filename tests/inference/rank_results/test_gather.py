import dataclasses
import json

import pytest

from inference.rank_results.gather import clear, gather, read_result, write_combined
from inference.storage.store import Store
from tests.support.wire_examples import EVENT, RESULT

SIZE = 12
EVENTS = [
    dataclasses.replace(EVENT, rank=rank, world_size=SIZE, data_paths=(f"survey/{rank}.pt",)) for rank in range(SIZE)
]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def put(store, number, **changes):
    same = {"rank": number, "world_size": SIZE, "data_path": f"survey/{number}.pt"}
    result = dataclasses.replace(RESULT, **(same | changes))
    key = f"results/test/{number}.json"
    store.write("cosmicai-test", key, json.dumps(result.to_wire()).encode())
    store.write("cosmicai-test", RESULT.predictions_path, b"redshifts")


def test_ranks_found_are_compared_with_the_plan_in_rank_order(store):
    for rank in (10, 2, 0):
        put(store, rank)
    found = gather(store, EVENTS)
    assert [result.rank for result in found.results] == [0, 2, 10]
    assert found.missing == (1, 3, 4, 5, 6, 7, 8, 9, 11)
    assert found.stale == ()


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "0" * 32}, {"data_path": "survey/99.pt"}, {"rank": 5}],
    ids=["another fingerprint", "another partition", "another rank"],
)
def test_a_result_that_is_not_of_the_plan_is_stale_and_its_rank_missing(store, changes):
    put(store, 4, **changes)
    found = gather(store, EVENTS)
    assert 4 in found.missing
    assert found.stale == ("results/test/4.json",)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"done"', b"\xff\xfe", b"[" * 100_000])
def test_a_result_that_cannot_be_read_is_stale_not_done(store, data):
    store.write("cosmicai-test", "results/test/4.json", data)
    found = gather(store, EVENTS)
    assert found.stale == ("results/test/4.json",)
    assert read_result(store, EVENTS[4]) is None


def test_a_rank_whose_redshifts_are_gone_is_not_done(store):
    put(store, 4)
    store.delete("cosmicai-test", [RESULT.predictions_path])
    found = gather(store, EVENTS)
    assert found.results == ()
    assert found.stale == ("results/test/4.json",)


def test_ranks_beyond_the_world_size_do_not_count(store):
    put(store, 3)
    put(store, 12, world_size=13)
    found = gather(store, EVENTS)
    assert [result.rank for result in found.results] == [3]
    assert found.stale == ("results/test/12.json",)


def test_files_of_other_names_are_left_alone(store):
    for name in ("payload.json", "combined_data.json", "007.json", "sub/1.json", "1.json.bak"):
        store.write("cosmicai-test", f"results/test/{name}", b"{}")
    found = gather(store, EVENTS)
    assert found.results == found.stale == ()


def test_clear_leaves_alone_what_a_run_in_a_folder_below_wrote(store):
    nested = ["0.json", "1.json", "payload.json", "summary.json", "predictions/0.1-0123abcd.safetensors"]
    for key in (*nested, "0.notes.txt"):
        store.write("cosmicai-test", f"results/test/predictions/{key}", b"{}")
    store.write("cosmicai-test", "results/test/0.json", b"{}")
    clear(store, "cosmicai-test", "results/test", ["results/test/0.json"])
    left = {stored.key for stored in store.list("cosmicai-test", "results/test")}
    assert left == {f"results/test/predictions/{key}" for key in (*nested, "0.notes.txt")}


def test_clearing_removes_stale_results_and_nothing_else(store):
    for rank in (1, 11):
        put(store, rank)
        store.write("cosmicai-test", f"results/test/predictions/{rank}.1-0123abcd.safetensors", b"x")
    store.delete("cosmicai-test", [RESULT.predictions_path])
    clear(store, "cosmicai-test", "results/test", ["results/test/1.json"])
    left = [stored.key for stored in store.list("cosmicai-test", "results/test")]
    assert left == ["results/test/11.json", "results/test/predictions/11.1-0123abcd.safetensors"]


def test_more_than_a_thousand_ranks_are_all_found(store):
    events = [
        dataclasses.replace(EVENT, rank=rank, world_size=1200, data_paths=(f"survey/{rank}.pt",))
        for rank in range(1200)
    ]
    for rank in range(1200):
        put(store, rank, world_size=1200)
    assert len(gather(store, events).results) == 1200


def test_the_combined_list_is_every_record_in_rank_order(store):
    for rank in range(SIZE):
        put(store, rank)
    found = gather(store, EVENTS)
    key = write_combined(store, "cosmicai-test", "results/test", found)
    assert key == "results/test/combined_data.json"
    records = json.loads(store.read("cosmicai-test", key))
    assert [record["rank"] for record in records] == list(range(SIZE))
    assert records == [result.to_wire() for result in found.results]


def test_no_result_is_an_empty_list_under_the_name_of_a_part(store):
    key = write_combined(store, "cosmicai-test", "results/test", gather(store, EVENTS))
    assert key == "results/test/combined_data.partial.json"
    assert json.loads(store.read("cosmicai-test", key)) == []
