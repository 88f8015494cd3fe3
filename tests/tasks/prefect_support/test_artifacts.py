import json

import pytest
from prefect.artifacts import Artifact

from tasks.prefect_support.artifacts import create_table_artifact


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_table_artifact_shows_foreign_text_without_markup():
    row = {"rank": 7, "error": "<script>x</script> [click](http://evil) 1 < 2", "missing": None}
    create_table_artifact([row], key="cosmic-test-markup", description="a table")
    (stored,) = json.loads(Artifact.get("cosmic-test-markup").data)
    assert stored == {"rank": 7, "error": "< script>x< /script> [click] (http://evil) 1 < 2", "missing": None}
