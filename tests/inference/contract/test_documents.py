import os
import tracemalloc
from pathlib import Path

import pytest

from inference.contract.documents import read_document
from inference.contract.run_request import RunRequest
from inference.errors import BadInput


def test_a_file_as_long_as_a_survey_is_no_request(tmp_path):
    survey = tmp_path / "survey.pt"
    survey.touch()
    os.truncate(survey, 1 << 40)  # without a byte on disk
    with pytest.raises(BadInput, match=r"the request .*survey\.pt is longer than 256 MB: name the right file"):
        RunRequest.load(survey)


def test_a_device_that_never_ends_is_refused():
    with pytest.raises(BadInput, match="the plan /dev/zero is longer than 256 MB"):
        read_document(Path("/dev/zero"), "the plan")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"cannot read the plan .*none\.json: No such file"):
        read_document(tmp_path / "none.json", "the plan")


def test_a_short_document_takes_no_more_memory_than_a_part(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    tracemalloc.start()
    try:
        assert read_document(tmp_path / "plan.json", "the plan") == b"{}"
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 << 20
