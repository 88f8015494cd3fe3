import json

import pytest
from prefect.artifacts import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.prefect_support.artifacts import create_table_artifact


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_table_artifact_shows_foreign_text_without_markup():
    row = {"rank": 7, "error": "<script>x</script> [click](http://evil) 1 < 2", "missing": None}
    create_table_artifact([row], key="cosmic-test-markup", description="a table")
    (stored,) = json.loads(Artifact.get("cosmic-test-markup").data)
    assert stored == {"rank": 7, "error": "< script>x< /script> [click] (http://evil) 1 < 2", "missing": None}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_server_that_is_gone_keeps_nothing_from_another():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert create_table_artifact([{"rank": 7}], key="cosmic-test-gone") is None
    create_table_artifact([{"rank": 8}], key="cosmic-test-gone")
    assert json.loads(Artifact.get("cosmic-test-gone").data) == [{"rank": 8}]
