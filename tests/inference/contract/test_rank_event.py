import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.validation import checked_int
from inference.errors import BadInput
from tests.support.wire_examples import EVENT, RESULT

LEGACY = {
    "total_cpu_time (seconds)",
    "total_cpu_memory (MB)",
    "execution_time (seconds/batch)",
    "num_batches",
    "batch_size",
    "device",
    "throughput_bps",
    "sample_persec",
    "result_path",
    "data_path",
    "s3_num_requests",
    "s3_total_time",
    "s3_avg_time",
    "s3_min_time",
    "s3_max_time",
    "s3_first_request_time",
    "s3_last_response_time",
    "total_process_memory (MB)",
    "library_overhead_memory (MB)",
    "total_image_memory (MB)",
    "total_model_memory (MB)",
}


def test_an_event_comes_through_the_wire_unchanged():
    assert RankEvent.from_wire(json.loads(json.dumps(EVENT.to_wire()))) == EVENT


def test_an_event_carries_the_contracts_keys_ranks_as_text():
    wire = EVENT.to_wire()
    assert (wire["RANK"], wire["WORLD_SIZE"], wire["BATCH_SIZE"]) == ("3", "8", 128)
    assert wire["DATA_PATH"] == "survey/4.pt"


def test_several_partitions_travel_as_a_list():
    event = dataclasses.replace(EVENT, data_paths=("a/1.pt", "a/2.pt"), data_etags=("x", "y"))
    assert event.to_wire()["DATA_PATH"] == ["a/1.pt", "a/2.pt"]
    assert RankEvent.from_wire(event.to_wire()) == event


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("RANK", "8"),
        ("RANK", "-1"),
        ("RANK", "x"),
        ("WORLD_SIZE", 0),
        ("BATCH_SIZE", 0),
        ("DATA_PATH", []),
        ("DATA_PATH", None),
        ("DATA_PATH", "../1.pt"),
        ("DATA_PATH", ["ok/1.pt", "/etc/passwd"]),
        ("RESULT_PATH", "a/../../b"),
        ("S3_BUCKET", "no/bucket"),
        ("model", "/etc/passwd"),
        ("data_etags", ["one", "too many"]),
        ("attempt", 0),
    ],
)
def test_a_wrong_value_in_an_event_is_refused_by_name(key, value):
    with pytest.raises(BadInput, match=key):
        RankEvent.from_wire(EVENT.to_wire() | {key: value})


@pytest.mark.parametrize("key", ["RANK", "S3_BUCKET", "DATA_PATH", "RESULT_PATH", "model"])
def test_a_missing_key_in_an_event_is_named(key):
    with pytest.raises(BadInput, match=key):
        RankEvent.from_wire({k: v for k, v in EVENT.to_wire().items() if k != key})


def test_results_go_to_the_script_bucket_unless_another_is_named():
    wire = EVENT.to_wire()
    del wire["RESULT_BUCKET"]
    assert RankEvent.from_wire(wire).result_bucket == EVENT.bucket


def test_a_result_carries_every_legacy_key():
    assert RESULT.to_wire().keys() >= LEGACY


@given(samples=st.integers(1, 10**9), loop=st.floats(1e-6, 1e6), batch=st.integers(1, 65_536))
def test_the_identities_of_the_old_records_hold(samples, loop, batch):
    wire = dataclasses.replace(RESULT, samples=samples, wall_loop_s=loop, batch_size=batch).to_wire()
    time = wire["total_cpu_time (seconds)"]
    assert wire["throughput_bps"] * time == pytest.approx(164_160 * samples)
    assert wire["execution_time (seconds/batch)"] == pytest.approx(time * batch / samples)
    assert wire["sample_persec"] == pytest.approx(samples / time)


def test_an_older_result_without_precision_error_is_read():
    wire = RESULT.to_wire()
    del wire["precision_error"]
    assert RankResult.from_wire(wire) == RESULT
    with pytest.raises(BadInput, match="precision_error"):
        RankResult.from_wire(wire | {"precision_error": "small"})


def test_a_result_comes_through_the_wire_unchanged():
    assert RankResult.from_wire(json.loads(json.dumps(RESULT.to_wire()))) == RESULT


@pytest.mark.parametrize(
    "field", [field for field in dataclasses.fields(RankResult) if field.default is dataclasses.MISSING]
)
def test_a_result_that_lacks_a_key_or_has_it_wrong_is_refused_by_name(field):
    wire = RESULT.to_wire()
    with pytest.raises(BadInput, match=field.name):
        RankResult.from_wire({k: v for k, v in wire.items() if k != field.name})
    with pytest.raises(BadInput, match=field.name):
        RankResult.from_wire(wire | {field.name: None})


@pytest.mark.parametrize("reply", [None, "Inference finished", [], 3])
def test_what_is_no_object_is_no_result(reply):
    with pytest.raises(BadInput, match="JSON object"):
        RankResult.from_wire(reply)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=25)))
def test_a_number_is_read_within_its_bounds_or_refused_by_name(value):
    try:
        assert 1 <= checked_int(value, "field", 1, 100) <= 100
    except BadInput as error:
        assert str(error).startswith("field must")


def test_an_empty_data_prefix_is_the_root_of_the_bucket():
    event = RankEvent.from_wire(EVENT.to_wire() | {"DATA_PREFIX": ""})
    assert RankEvent.from_wire(event.to_wire()).data_prefix == ""
