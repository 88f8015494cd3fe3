import dataclasses
import json
import sys

import pytest

from benchmarks import __main__ as bench
from benchmarks.ratio import NotHere
from tests.benchmarks.test_ratio import TIME, moved

_committed = bench.committed


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Parts that answer what they are given: a list of targets, or an error."""
    answers = {}

    def alone(_, name):
        if isinstance(answers[name], Exception):
            raise answers[name]
        return {"what": "a test", "rows": [], "targets": [dataclasses.asdict(target) for target in answers[name]]}

    monkeypatch.setattr(bench, "alone", alone)
    monkeypatch.setattr(bench, "parts", lambda: list(answers))
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "committed", lambda name: {})
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    return answers


def test_every_part_is_found_without_being_imported():
    assert {"read", "run"} <= set(bench.parts())
    assert not {"ratio", "slow_s3", "__main__"} & set(bench.parts())


def test_a_part_that_fails_or_lacks_something_takes_no_other_with_it(parts, capsys, tmp_path):
    parts |= {"broken": ValueError("no such thing"), "gpu": NotHere("there is no GPU"), "read": [TIME]}
    assert bench.main() == 1
    message = capsys.readouterr().out
    assert "broken: FAILED: ValueError: no such thing" in message
    assert "gpu: not measured here: there is no GPU" in message
    assert [path.name for path in tmp_path.iterdir()] == ["read.json"]
    assert json.loads((tmp_path / "read.json").read_text())["machine"]["cores"]


def test_bench_reports_a_regression_without_failing(parts, capsys, monkeypatch):
    parts["read"] = [moved(TIME, 1.0)]
    monkeypatch.setattr(bench, "committed", lambda name: {"targets": [dataclasses.asdict(TIME)]})
    assert bench.main() == 0
    message = capsys.readouterr().out
    assert "WORSE than committed: read" in message
    assert "of another machine" in message
    assert "NO" in message


def test_bench_across_classes_of_machines_says_nothing_worse(parts, capsys, monkeypatch):
    parts["read"] = [moved(TIME, 1.0)]
    elsewhere = {"targets": [dataclasses.asdict(TIME)], "machine": {"cpu": "Another CPU", "cores": 64}}
    monkeypatch.setattr(bench, "committed", lambda name: elsewhere)
    assert bench.main() == 0
    message = capsys.readouterr().out
    assert "WORSE" not in message
    assert "read: not compared: the committed result is of another class of machine" in message


def test_bench_keeps_a_result_beside_that_of_another_class_of_machine(parts, capsys, monkeypatch, tmp_path):
    parts["read"] = [TIME]
    monkeypatch.setattr(bench, "committed", _committed)
    elsewhere = {"targets": [], "machine": {"cpu": "Another CPU", "cores": 64}}
    (tmp_path / "read.json").write_text(json.dumps(elsewhere))
    assert bench.main() == 0
    assert json.loads((tmp_path / "read.json").read_text()) == elsewhere
    (beside,) = set(tmp_path.iterdir()) - {tmp_path / "read.json"}
    assert json.loads(beside.read_text())["targets"]
    assert "not compared" in capsys.readouterr().out
    parts["read"] = [moved(TIME, 1.0)]
    assert bench.main() == 0
    assert "WORSE than committed: read" in capsys.readouterr().out


def test_a_name_that_is_none_is_reported_with_those_there_are(parts, capsys, monkeypatch):
    parts["read"] = [TIME]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "reed"])
    assert bench.main() == 2
    assert "no benchmark 'reed'; there are: read" in capsys.readouterr().err


def test_a_committed_result_of_an_older_form_has_no_ratios():
    assert bench.targets_of({"rows": []}) == []
    assert bench.targets_of({"targets": [{"unknown": 1}]}) == []
