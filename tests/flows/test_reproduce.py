import json
import os

import pytest

from flows.reproduce import reproduce
from tasks.reproduction.scales import SCALES, Scale

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800), pytest.mark.usefixtures("prefect_api")]


def test_reproduction_runs_every_sweep_and_writes_the_page(tmp_path, monkeypatch):
    tiny = Scale("small", 639, 25, "12.5MB", 32, ("12.5MB",), 1)
    monkeypatch.setitem(SCALES, "small", tiny)
    before = dict(os.environ)
    document = reproduce("small", str(tmp_path / "store"), str(tmp_path / "out"))
    assert [len(sweep["failed"]) for sweep in document["sweeps"].values()] == [0] * 5
    page = (tmp_path / "out" / "report.html").read_text()
    assert "it did not run" not in page
    assert json.loads((tmp_path / "out" / "reproduction.json").read_text())["scale"] == "small"
    assert (tmp_path / "out" / "cost" / "tables").is_dir()
    assert {name: os.environ.get(name) for name in before} == before
    events = document["sweeps"]["events"]["measurements"][0]["document"]["execution"]
    assert events["map_s"] > 0
