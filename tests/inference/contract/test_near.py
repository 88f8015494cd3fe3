import pytest

from inference.contract.near import near_file, near_key
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.executors.cluster_file import Cluster
from tasks.sweeps.sweep import Sweep
from tasks.training.recipe import read_recipe
from tests.support.surveys import request_of

SWEEP = {"name": "sizes", "request": {"bucket": "cosmicai", "data_bucket": "cosmicai"}}


@pytest.mark.parametrize(
    ("read", "document", "meant"),
    [
        (RunRequest.read, request_of() | {"batchsize": 8}, "batch_size"),
        (RunRequest.read, request_of() | {"Result_Path": "r"}, "result_path"),
        (RunRequest.read, request_of() | {"partition": {"source": "s.pt", "sise": "25MB"}}, "size"),
        (RunRequest.read, request_of() | {"tolerated_failure_percent": 3}, "tolerated_failure_percentage"),
        (Sweep.read, SWEEP | {"axes": {"batch_sise": [1]}}, "batch_size"),
        (Sweep.read, SWEEP | {"repeat": 2}, "repeats"),
        (Cluster.read, {"cluster_clas": "b.C"}, "cluster_class"),
        (read_recipe, {"epoch": 3}, "epochs"),
    ],
)
def test_an_unknown_key_is_refused_with_the_key_that_was_meant(read, document, meant):
    with pytest.raises(BadInput, match=rf"\(did you mean {meant}\?\)"):
        read(document)


def test_a_mistyped_required_key_is_named_before_the_one_that_lacks():
    document = request_of()
    document["batchsize"] = document.pop("batch_size")
    with pytest.raises(BadInput, match=r"unknown key in the request: 'batchsize' \(did you mean batch_size\?\)"):
        RunRequest.read(document)


def test_a_key_that_is_like_no_other_is_given_no_guess():
    assert near_key(RunRequest, ("xyzzy",)) == ""
    assert near_key(RunRequest, ("bucket", 0, "x")) == ""


def test_a_file_that_is_not_there_is_guessed_from_its_folder(tmp_path):
    (tmp_path / "request.json").touch()
    assert near_file(tmp_path / "reqest.json") == " (did you mean request.json?)"
    assert near_file(tmp_path / "none" / "reqest.json") == ""
