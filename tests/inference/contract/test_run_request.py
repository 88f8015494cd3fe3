import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.run_request import RunRequest, json_schema
from inference.errors import BadInput

REQUEST = {
    "bucket": "cosmicai-data",
    "file_limit": "11",
    "batch_size": 512,
    "result_path": "result-partition-100MB/1GB/1",
    "data_bucket": "cosmicai-data",
    "data_prefix": "100MB",
}
KEYS = ["result_path", "data_prefix"]


def test_the_state_machines_input_is_taken_numbers_as_text_or_as_numbers():
    request = RunRequest.read(REQUEST | {"batch_size": "512"})
    assert (request.file_limit, request.batch_size) == (11, 512)


@pytest.mark.parametrize("key", REQUEST)
def test_a_missing_key_is_named(key):
    with pytest.raises(BadInput, match=f"lacks {key}"):
        RunRequest.read({name: value for name, value in REQUEST.items() if name != key})


def test_an_unknown_key_is_named():
    with pytest.raises(BadInput, match="'bathc_size'"):
        RunRequest.read(REQUEST | {"bathc_size": 1})


@pytest.mark.parametrize("size", [0, -1, "abc", "", 10**12, 1.5, None, True, "1e3", [512], "٣"])
def test_a_batch_size_that_is_none_is_refused_by_name(size):
    if size == "٣":  # a decimal digit of another script is still a number
        assert RunRequest.read(REQUEST | {"batch_size": size}).batch_size == 3
        return
    with pytest.raises(BadInput, match="batch_size"):
        RunRequest.read(REQUEST | {"batch_size": size})


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["../x", "a/../../b", "/abs", "a\0b", "/", "a//b", 7, None])
def test_a_key_that_leaves_its_place_is_refused_by_name(key, value):
    with pytest.raises(BadInput, match=key):
        RunRequest.read(REQUEST | {key: value})


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
@pytest.mark.parametrize("key", ["model", "exec_args", "script_source", "python", "script_environment", "cluster"])
def test_text_that_no_file_or_program_takes_is_refused_by_name(key, value):
    with pytest.raises(BadInput, match=f"{key} holds a NUL or half a character") as caught:
        RunRequest.read(REQUEST | {key: value})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("region", ["", "s3://b", "us-east-1\n", "\x1b[2J", "<b>", "US EAST", "a" * 41, "\ud800"])
def test_a_region_that_is_none_is_refused_by_name(region):
    with pytest.raises(BadInput, match="region is written us-east-1, not") as caught:
        RunRequest.read(REQUEST | {"region": region})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("bucket", ["other", REQUEST["bucket"]])
def test_an_empty_data_prefix_is_the_root_of_any_bucket(bucket):
    assert RunRequest.read(REQUEST | {"data_prefix": "", "data_bucket": bucket}).data_prefix == ""


def test_partitions_are_not_made_in_the_root_of_a_bucket():
    change = {"data_prefix": "", "data_bucket": "other", "partition": {"source": "s.pt", "size": "25MB"}}
    with pytest.raises(BadInput, match="data_prefix is empty"):
        RunRequest.read(REQUEST | change)


@pytest.mark.parametrize(
    ("result_path", "data_prefix"), [("100MB", "100MB"), ("100MB/results", "100MB"), ("runs", "runs/predictions/")]
)
def test_results_and_data_may_not_lie_in_one_another(result_path, data_prefix):
    changes = {"result_path": result_path, "data_prefix": data_prefix}
    with pytest.raises(BadInput, match=r"result_path .* and data_prefix .* lie in one another"):
        RunRequest.read(REQUEST | changes)
    assert RunRequest.read(REQUEST | changes | {"data_bucket": "another-bucket"})


def test_results_may_lie_beside_data_of_a_similar_name():
    assert RunRequest.read(REQUEST | {"result_path": "100MB-results"})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("hedging", "perhaps", "hedging: input should be a valid boolean"),
        ("tolerated_failure_count", -1, "tolerated_failure_count must lie between 0 and"),
        ("tolerated_failure_count", "few", "tolerated_failure_count must be a whole number"),
        (
            "tolerated_failure_percentage",
            101,
            "tolerated_failure_percentage: input should be less than or equal to 100",
        ),
        ("tolerated_failure_percentage", float("nan"), "tolerated_failure_percentage: input should be"),
        ("run_timeout", 0, "run_timeout: input should be greater than 0"),
        ("run_timeout", "soon", "run_timeout: input should be a valid number"),
    ],
)
def test_limits_of_a_run_that_make_no_sense_are_refused_by_name(key, value, expected):
    with pytest.raises(BadInput, match=f"^{expected}"):
        RunRequest.read(REQUEST | {key: value})


def test_limits_may_arrive_as_text():
    checked = RunRequest.read(REQUEST | {"tolerated_failure_percentage": "2.5", "tolerated_failure_count": "3"})
    assert (checked.tolerated_failure_percentage, checked.tolerated_failure_count) == (2.5, 3)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("engine", "tensorflow"),
        ("order", "random"),
        ("precision", "int1"),
        ("memory_mb", 64),
        ("memory_mb", 20_000),
        ("rank_timeout", -1),
        ("rank_timeout", "nan"),
        ("world_size", 0),
        ("architecture", "mips"),
        ("partition", {"source": "x"}),
        ("partition", {"source": "x", "size": "25MB", "more": 1}),
    ],
)
def test_a_value_outside_what_there_is_names_its_key(key, value):
    with pytest.raises(BadInput, match=key):
        RunRequest.read(REQUEST | {key: value})


@pytest.mark.parametrize("document", [None, [], "text", 3, [REQUEST]])
def test_what_is_no_object_is_refused(document):
    with pytest.raises(BadInput, match="JSON object"):
        RunRequest.read(document)


@pytest.mark.parametrize("text", ["", "{", '{"file_limit": NaN}', "\xff", "[" * 100_000])
def test_a_file_that_is_no_json_is_refused_by_name(tmp_path, text):
    path = tmp_path / "request.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"request\.json"):
        RunRequest.load(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"none\.json"):
        RunRequest.load(tmp_path / "none.json")


def test_what_changes_after_reading_replaces_what_was_written():
    written = REQUEST | {"file_limit": "11", "region": "us-east-1"}
    request = RunRequest.read(written)
    assert request.as_given() == written
    assert request.model_copy(update={"region": "eu-west-1"}).as_given() == written | {"region": "eu-west-1"}
    assert RunRequest.read(request.as_given()) == request


SCRIPTED = REQUEST | {"script": "/tmp/Anomaly Detection/Inference/inference.py", "S3_object_name": "Anomaly Detection"}


def test_the_published_requests_script_keys_are_taken():
    request = RunRequest.read(SCRIPTED | {"object_type": "folder", "exec_args": "--fast 'two words'"})
    script = request.script_at("abc")
    assert (script.folder, script.key) == ("Anomaly Detection", "Anomaly Detection/Inference/inference.py")
    assert RunRequest.read(request.document()) == request


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"S3_object_name": None}, "script needs S3_object_name"),
        ({"model": "m.safetensors"}, "both script and model"),
        ({"script": "/tmp/Other/inference.py"}, "does not lie in"),
        ({"script": "/tmp/Anomaly Detection/../other.py"}, "segment"),
        ({"script": "/tmp/Anomaly Detection"}, "does not lie in"),
        ({"script": None}, "S3_object_name goes with script"),
        ({"object_type": "link"}, "object_type"),
        ({"result_path": "Anomaly Detection/results"}, "lies in S3_object_name; results"),
        ({"S3_object_name": "/etc"}, "S3_object_name"),
        ({"script": "/tmp/Anomaly Detection/x.py", "exec_args": "'open"}, "EXEC_ARGS"),
    ],
)
def test_a_script_that_cannot_be_is_refused(changes, expected):
    with pytest.raises(BadInput, match=expected):
        RunRequest.read(SCRIPTED | changes)


@pytest.mark.parametrize("key", ["S3_object_name", "script_source", "exec_args"])
def test_what_goes_with_a_script_is_refused_without_one(key):
    with pytest.raises(BadInput, match=f"{key} goes with script"):
        RunRequest.read(REQUEST | {key: "x"})


@pytest.mark.parametrize(
    ("key", "value"),
    [("function_name", "a b"), ("state_machine_arn", "cosmic-flows"), ("state_machine_arn", "arn:aws:lambda:x")],
)
def test_a_name_that_aws_would_not_take_is_refused(key, value):
    with pytest.raises(BadInput, match=key):
        RunRequest.read(REQUEST | {key: value})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*REQUEST, "model", "world_size", "partition", "script", "S3_object_name", "x"]), json_values
    )
)
def test_whatever_comes_is_either_a_request_or_one_sentence(changes):
    try:
        request = RunRequest.read(REQUEST | changes)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert RunRequest.read(request.document()) == request


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bf16"}, {"precision": "tf32", "engine": "onnxruntime"}, {"precision": "bf16", "engine": ""}],
)
def test_a_reduced_precision_needs_the_engine_that_has_it(changes):
    with pytest.raises(BadInput, match=r"precision (bf16|tf32) needs engine torch|engine"):
        RunRequest.read(REQUEST | changes)
    with pytest.raises(BadInput, match="precision int8 needs engine onnxruntime"):
        RunRequest.read(REQUEST | {"precision": "int8", "engine": "torch"})
    for engine, precision in (("torch", "bf16"), ("onnxruntime", "int8")):
        assert RunRequest.read(REQUEST | {"precision": precision, "engine": engine}).precision == precision


def test_a_script_has_no_precision():
    script = {"script": "s/run.py", "S3_object_name": "s", "object_type": "folder", "precision": "int8"}
    with pytest.raises(BadInput, match="precision int8 is the built-in engine's"):
        RunRequest.read(REQUEST | script)


def test_the_committed_schema_is_the_generated_one():
    committed = Path(__file__).parents[3] / "docs" / "request.schema.json"
    assert committed.read_text() == json_schema()


def test_the_schema_refuses_other_keys():
    assert json.loads(json_schema())["additionalProperties"] is False


def test_backups_are_refused_for_scripts():
    script = {"script": "/tmp/folder/run.py", "S3_object_name": "folder"}
    with pytest.raises(BadInput, match=r"^hedging: a script may overwrite"):
        RunRequest.read(REQUEST | script | {"hedging": True})
    assert RunRequest.read(REQUEST | script | {"hedging": False}).hedging is False
