import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.combined_data.records import Planned, plan_by_name, read_plan, read_records, shortfalls
from tests.support.archived_records import BITS, old_record


def parse(*wires):
    return read_records(json.dumps(wires).encode(), "combined_data.json")


def refused(data):
    with pytest.raises(BadInput) as caught:
        read_records(data if isinstance(data, bytes) else json.dumps(data).encode(), "combined_data.json")
    message = str(caught.value)
    assert "combined_data.json" in message
    assert "\n" not in message
    return message


def test_an_old_record_gives_samples_and_bits_by_the_contract():
    (record,) = parse(old_record(7, samples=1278, seconds=9.0))
    assert (record.rank, record.samples, record.seconds) == (None, 1278, 9.0)
    assert record.bits == pytest.approx(1278 * BITS)
    assert record.data_paths == ("25MB/7.pt",)
    assert record.started_at is None


def test_a_rank_that_left_a_list_counts_record_by_record():
    records = parse(old_record(1, samples=10, seconds=1.0), [old_record(2), old_record(3)], [])
    assert [record.data_paths for record in records] == [("25MB/1.pt",), ("25MB/2.pt",), ("25MB/3.pt",)]


@given(samples=st.integers(1, 10**7), seconds=st.floats(1e-3, 1e5))
def test_samples_survive_being_given_as_a_rate(samples, seconds):
    (record,) = parse(old_record(samples=samples, seconds=seconds))
    assert record.samples == samples


def test_a_malformed_record_is_named_by_its_place_its_file_and_the_key():
    good = old_record()
    assert "record 2 is no object" in refused([good, None])
    assert "record 1 (25MB/1.pt) lacks 'sample_persec'" in refused([{**good, "sample_persec": None}])
    assert "wrong 'total_cpu_time (seconds)': -1" in refused([{**good, "total_cpu_time (seconds)": -1}])
    assert "wrong 'sample_persec': 'fast'" in refused([{**good, "sample_persec": "fast"}])
    assert "wrong data_path: []" in refused([{**good, "data_path": []}])
    assert "batch_size must lie" in refused([{**good, "batch_size": 0}])
    assert "wrong result_path" in refused([{**good, "result_path": 3}])
    assert "must be a list" in refused({"ranks": []})
    assert "is not JSON" in refused(b"[{")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists) | st.binary())
def test_any_other_document_is_refused_or_read_but_never_a_crash(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        read_records(data, "combined_data.json")
    except BadInput as error:
        assert "combined_data.json" in str(error)


def test_names_in_use_tell_how_many_ranks_a_run_planned():
    def planned(**changes):
        return plan_by_name(parse(old_record(**changes)))

    assert planned(result_path="result-partition-25MB/12.6GB/1").ranks == 517
    assert planned(prefix="50MB", result_path="result-partition-50MB/12.6GB/3").ranks == 259
    assert planned(prefix="100MB", result_path="scaling/result-partition-100MB/12GB/1TB/1").ranks == 10_486
    assert planned(result_path="results/filelimit-10_batchsize-128_prefix-50MB/2").ranks == 10
    assert planned(result_path="results/filelimit-10_batchsize-128_prefix-50MB_worldsize-40").ranks == 40
    assert planned(result_path="result-partition-25MB/total/1") is None
    assert planned(prefix="survey", result_path="runs/1GB/1") is None
    assert plan_by_name([]) is None


def run_of_files(numbers, size):
    path = f"scaling/result-partition-100MB/12GB/{size}/1"
    return parse(*(old_record(number, prefix="100MB", result_path=path) for number in numbers))


@pytest.mark.parametrize(
    ("numbers", "size", "whole"),
    [
        ([n % 130 + 1 for n in range(983)], "100GB", True),  # of 96 GB, which people round
        (range(1, 131), "12GB", True),  # of 12.6 GB
        (range(1, 123), "12.6GB", False),
        ([n for n in range(1, 131) if n not in (7, 90)], "12.6GB", False),
        ([1, 10, *range(100, 109)], "1GB", True),  # listed as text
        ([n % 130 + 1 for n in range(1000)], "1TB", False),
        ([*(n % 130 + 1 for n in range(983) if n != 500), 130], "100GB", False),
    ],
)
def test_a_size_in_a_name_is_rounded_and_gaps_among_files_decide(numbers, size, whole):
    records = run_of_files(numbers, size)
    assert (shortfalls(records, plan_by_name(records)) == []) is whole


def test_the_time_of_a_script_under_our_dispatch_is_our_time():
    ours = {"rank": 3, "samples": 1278, "started_at": 100.0, "ended_at": 130.0, "wall_loop_s": 29.0}
    profiled = old_record(samples=1278, seconds=42.7)
    (record,) = parse(profiled | ours)
    assert (record.seconds, record.bits) == (29.0, pytest.approx(1278 * BITS))
    (of_an_older_version,) = parse(profiled | ours | {"wall_loop_s": 42.7})
    assert of_an_older_version.seconds == 30.0


def test_fewer_and_more_records_than_planned_are_reported():
    records = parse(*(old_record(number) for number in range(1, 9)))
    assert shortfalls(records, Planned(8, "--ranks")) == []
    assert shortfalls(records, None) == []
    assert shortfalls(records, Planned(9, "--ranks")) == ["8 records are fewer than the 9 planned (--ranks)"]
    assert shortfalls(records, Planned(7, "--ranks")) == ["8 records are more than the 7 planned (--ranks)"]


def test_a_plan_names_the_partitions_whose_records_are_missing():
    wire = {"data_map": {"0": "25MB/1.pt", "1": ["25MB/2.pt", "25MB/3.pt"], "2": "25MB/4.pt", "3": None}}
    planned = read_plan(json.dumps(wire).encode(), "payload.json")
    assert planned.ranks == 3
    message = shortfalls(parse(old_record(1), old_record(4)), planned)
    assert message == [
        "2 records are fewer than the 3 planned (payload.json)",
        "the records lack: 25MB/2.pt, 25MB/3.pt",
    ]
    message = shortfalls(
        parse(old_record(1), {**old_record(), "data_path": ["25MB/2.pt", "25MB/3.pt"]}, old_record(5)), planned
    )
    assert message == ["the records lack: 25MB/4.pt", "the records are not in the plan but read: 25MB/5.pt"]


def test_a_file_that_ranks_reuse_is_no_duplicate():
    planned = read_plan(json.dumps({"data_map": {"0": "25MB/1.pt", "1": "25MB/1.pt"}}).encode(), "payload.json")
    assert shortfalls(parse(old_record(1), old_record(1)), planned) == []
    assert shortfalls(parse(old_record(1)), planned) == [
        "1 record is fewer than the 2 planned (payload.json)",
        "the records lack: 25MB/1.pt",
    ]


def test_a_rank_that_is_there_twice_is_reported():
    ours = {"rank": 3, "samples": 1278, "started_at": 1.0, "ended_at": 2.0}
    assert shortfalls(parse({**old_record(), **ours}, {**old_record(2), **ours}), None) == [
        "rank 3 is there 2 times (1 such ranks)"
    ]


def test_exactly_a_thousand_old_records_are_suspected_of_a_cut_listing():
    path = "scaling/result-partition-100MB/12GB/1TB/1"
    records = parse(*(old_record(number % 126 + 1, prefix="100MB", result_path=path) for number in range(1000)))
    message = shortfalls(records, plan_by_name(records))
    assert "1,000 records are fewer than the about 10,486 planned" in message[0]
    assert "unpaginated listing stopped" in message[1]
    assert shortfalls(records, Planned(1000, "payload.json")) == []


def test_records_of_several_runs_in_one_file_are_reported():
    message = shortfalls(parse(old_record(), old_record(2, result_path="result-25MB/1GB/2")), None)
    assert message == ["records of 2 runs are mixed: result-25MB/1GB/1, result-25MB/1GB/2"]


@pytest.mark.parametrize(
    "data", [b"[", b"[]", b"{}", b'{"data_map": {}}', b'{"data_map": {"0": [3]}}', b'{"data_map": 3}']
)
def test_a_plan_without_a_data_map_is_refused_by_name(data):
    with pytest.raises(BadInput, match=r"^old\.json is (no plan|not JSON)"):
        read_plan(data, "old.json")
