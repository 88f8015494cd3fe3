import json

import pytest

from benchmarks.committed import alike, class_of, committed, file_of

HERE = {"cpu": "AMD EPYC", "cores": 2, "memory_gb": 8.0, "numpy": "2.4.6"}
THERE = {"cpu": "Intel(R) Xeon(R) Processor", "cores": 2}


def test_class_of_is_processor_and_cores_whatever_the_versions():
    assert class_of(HERE) == class_of(HERE | {"numpy": "3.0", "memory_gb": 16.0}) == "amd-epyc-2"
    assert len({class_of(machine) for machine in (HERE, THERE, HERE | {"cores": 64})}) == 3


@pytest.mark.parametrize(("before", "same"), [({}, True), ({"machine": HERE}, True), ({"machine": THERE}, False)])
def test_alike_tells_the_same_class_from_another(before, same):
    assert alike(before, HERE) is same


def test_file_of_puts_no_result_over_one_of_another_class(tmp_path):
    assert file_of(tmp_path, "read", HERE) == tmp_path / "read.json"
    (tmp_path / "read.json").write_text(json.dumps({"machine": THERE}))
    assert file_of(tmp_path, "read", THERE) == tmp_path / "read.json"
    assert file_of(tmp_path, "read", HERE) == tmp_path / "read.amd-epyc-2.json"


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_committed_takes_a_damaged_result_for_none(tmp_path, text):
    (tmp_path / "read.json").write_text(text)
    assert committed(tmp_path / "read.json") == {}
