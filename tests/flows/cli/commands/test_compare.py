import json

import pytest

from flows.cli import main
from tests.support.swept import measured


@pytest.fixture
def root(tmp_path):
    for name, speed in (("a", 1.0), ("b", 0.5)):
        (tmp_path / "bench" / name).mkdir(parents=True)
        document = measured(repeats=1, speed=speed)[0].document
        (tmp_path / "bench" / name / "summary.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def compare(root, capsys):
    def call(*words):
        code = main(["compare", *words, "--store", str(root)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_a_person_sees_what_has_changed_and_how_much_has_not(compare):
    code, out, _ = compare("bench/a", "bench/b")
    assert code == 0
    assert "A: bench/a\nB: bench/b\n" in out
    assert "Figures that differ" in out
    assert "Makespan, s" in out
    assert "Peak memory, MB" not in out
    assert "5 other figures: 4 equal, 1 within 5 % with no noise known. --all shows them." in out
    assert "Student's t" not in out
    assert "Student's t" in compare("bench/a", "bench/b", "--explain")[1]


def test_settings_that_differ_are_named_side_by_side(compare, root):
    file = root / "bench" / "b" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"engine": "torch"}))
    out = compare("bench/a", "bench/b")[1]
    assert "Settings that differ" in out
    assert next(line for line in out.splitlines() if line.startswith("engine")).split() == [
        "engine",
        "onnxruntime",
        "torch",
    ]
    assert "WARNING" not in out


def test_a_run_against_itself_differs_in_nothing(compare):
    out = compare("bench/a", "bench/a")[1]
    assert " equal. --all shows them." in out
    assert "differ" not in out


def test_all_figures_are_shown_side_by_side_with_ratio_and_verdict(compare):
    code, out, _ = compare("bench/a", "bench/b", "--all")
    assert code == 0
    for word in ("Makespan, s", "Throughput, Mbit/s", "Peak memory, MB", "Cost, USD", "B : A", "noise unknown"):
        assert word in out


def test_json_is_the_only_thing_on_standard_output(compare):
    code, out, _ = compare("bench/a", "bench/b", "--json")
    document = json.loads(out)
    assert (code, document["a"], document["b"]) == (0, "bench/a", "bench/b")
    assert next(row for row in document["rows"] if row["metric"] == "makespan_s")["ratio"] > 1.5


def test_the_gate_exits_with_1_and_says_what_tripped(compare):
    code, out, _ = compare("bench/a", "bench/b", "--fail-above", "1.10")
    assert code == 1
    assert "GATE Makespan: B is 1.9" in out
    assert compare("bench/b", "bench/a", "--fail-above", "1.10")[0] == 0


def test_the_gate_looks_at_the_metrics_that_are_named(compare):
    code, out, _ = compare("bench/a", "bench/b", "--fail-above", "1.1", "--metric", "peak_memory_mb", "--json")
    assert (code, json.loads(out)["tripped"]) == (0, [])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bench/a", "bench/c"), "no run ended at bench/c"),
        (("bench/a", "bench"), "'bench' is no file"),
        (("bench/a", "bench/b", "--fail-above", "0"), "--fail-above is a ratio of at least 1"),
        (("bench/a", "bench/b", "--metric", "x"), "--metric must be one of makespan_s"),
    ],
)
def test_wrong_input_exits_with_2_and_one_sentence(compare, words, expected):
    code, out, err = compare(*words)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.startswith("cosmic compare: ")
    assert err.count("\n") == 1
