import csv
import json

import pytest

from flows.cli import main
from tasks.aws.executions_table import named_by_path
from tests.support.execution_histories import INLINE
from tests.support.states_endpoint import Refusal, states_endpoint

ARN = "arn:aws:states:us-east-1:000000000000:execution:old:one"
ENDED = {
    "executionArn": ARN,
    "stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:old",
    "name": "one",
    "startDate": 100.0,
    "stopDate": 125.0,
    "status": "SUCCEEDED",
}


@pytest.fixture
def answers(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    served = []

    def serve(**script):
        good = {
            "DescribeExecution": ENDED,
            "GetExecutionHistory": [
                {"events": INLINE[:20], "nextToken": "more"},
                {"events": INLINE[20:]},
            ],
            "ListMapRuns": {"mapRuns": []},
        }
        served.append(states_endpoint(**(good | script)))
        url, calls = served[-1].__enter__()
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        return calls

    yield serve
    for context in served:
        context.__exit__(None, None, None)


def test_phases_are_printed_as_a_table_with_units_and_the_items_below(answers, capsys):
    answers()
    assert main(["history", ARN]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines]
    assert ["phase", "states", "s"] in rows
    for row in (
        ["Initialize", "Initialize", "2.000"],
        ["Map", "Fan", "out", "20.000"],
        ["Summarize", "Summarize", "3.000"],
        ["whole", "execution", "25.000"],
    ):
        assert row in rows
    assert "an item took: min 5.000 s, median 10.000 s, mean 10.000 s, max 15.000 s" in lines
    assert "items: 2 succeeded, 3 total" in lines
    assert any(line.startswith("state transitions: 6,") for line in lines)


def test_json_is_one_document_with_the_same_numbers(answers, capsys):
    answers()
    assert main(["history", ARN, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [document[name] for name in ("initialize_s", "map_s", "summarize_s", "seconds")] == [2, 20, 3, 25]
    assert document["item_seconds"] == [5, 10, 15]


def test_the_history_is_read_over_all_its_pages(answers, capsys):
    calls = answers()
    main(["history", ARN])
    asked = [wanted for operation, wanted in calls if operation == "GetExecutionHistory"]
    assert [wanted.get("nextToken") for wanted in asked] == [None, "more"]
    assert {wanted["maxResults"] for wanted in asked} == {1000}


@pytest.mark.parametrize(
    "arn",
    [
        "cosmic-flows",
        "arn:aws:states:us-east-1:000000000000:stateMachine:",
        "arn:aws:states:us-east-1:000000000000:express:old:one:two",
        "arn:aws:lambda:us-east-1:000000000000:function:old",
    ],
)
def test_what_is_no_execution_is_refused_with_one_sentence(arn, capsys):
    assert main(["history", arn]) == 2
    expected = capsys.readouterr().err
    assert expected.startswith("cosmic history: ARN must be")
    assert expected.count("\n") == 1


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal("ExecutionDoesNotExist"), f"there is no execution {ARN}"),
        (Refusal("AccessDeniedException", "not authorized to perform states:DescribeExecution"), "cosmic history: "),
    ],
)
def test_an_execution_that_cannot_be_read_is_reported_with_one_sentence(answers, capsys, refusal, expected):
    answers(DescribeExecution=refusal)
    assert main(["history", ARN]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_an_execution_of_another_region_is_refused_with_one_sentence(answers, capsys):
    answers()
    assert main(["history", ARN.replace("us-east-1", "eu-west-1")]) == 2
    assert "is of eu-west-1, but the region in use is us-east-1" in capsys.readouterr().err


def test_a_failed_execution_is_reported_with_its_cause(answers, capsys):
    cause = json.dumps({"errorType": "RankFailed", "errorMessage": "3 of 8 ranks are missing"})
    answers(DescribeExecution=ENDED | {"status": "FAILED", "error": "RankFailed", "cause": cause})
    assert main(["history", ARN]) == 0
    assert "the execution ended FAILED: 3 of 8 ranks are missing" in capsys.readouterr().out


MACHINE = ENDED["stateMachineArn"]
HEADINGS = "data (GB),batch_size,run,partition (MB),total_duration (s),inference_duration (s),batch_varying"


def described(wanted):
    name = wanted["executionArn"].rpartition(":")[2]
    asked = {"result_path": "result-partition-100MB/1GB/run 2", "batch_size": 512, "data_prefix": "100MB"}
    if name == "failed":
        return ENDED | {"status": "FAILED", "input": "no JSON"}
    return ENDED | {"name": name, "input": json.dumps(asked)}


def listed(*names):
    return [{"executionArn": ARN.replace(":one", f":{name}"), "name": name} for name in names]


def machine_of(answers):
    """A machine with two executions on two pages of its listing."""
    pages = [{"executions": listed("one"), "nextToken": "more"}, {"executions": listed("failed")}]
    return answers(DescribeExecution=described, ListExecutions=pages, GetExecutionHistory={"events": INLINE})


def test_executions_of_a_machine_are_written_as_the_old_collector_did(answers, capsys, tmp_path):
    machine_of(answers)
    assert main(["history", MACHINE, "--out", str(tmp_path / "times.csv")]) == 0
    text = (tmp_path / "times.csv").read_text()
    assert text.splitlines()[0].startswith(HEADINGS)
    one, failed = csv.DictReader(text.splitlines())
    assert [one[name] for name in HEADINGS.split(",")] == ["1GB", "512", "2", "100MB", "25.0", "20.0", "False"]
    assert (failed["status"], failed["data (GB)"], failed["total_duration (s)"]) == ("FAILED", "", "25.0")
    assert f"2 executions written to {tmp_path}/times.csv" in capsys.readouterr().out


def test_executions_of_a_machine_are_shown_as_a_table_and_as_json(answers, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    machine_of(answers)
    assert main(["history", MACHINE]) == 0
    assert any(line.split()[:4] == ["1GB", "512", "2", "100MB"] for line in capsys.readouterr().out.splitlines())
    machine_of(answers)
    assert main(["history", MACHINE, "--json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["SUCCEEDED", "FAILED"]


def test_machine_without_executions_says_so_below_its_table(answers, capsys, tmp_path):
    answers(ListExecutions={"executions": []})
    assert main(["history", MACHINE, "--out", str(tmp_path / "times.csv")]) == 0
    assert "It has run nothing in the last 90 days" in capsys.readouterr().out
    assert (tmp_path / "times.csv").read_text().startswith(HEADINGS)


@pytest.mark.parametrize("path", ["results/ai-one", "results/filelimit-10_batchsize-128_prefix-50MB", "a/b/c"])
def test_path_that_names_no_size_leaves_the_size_and_the_run_empty(path):
    assert named_by_path(path) == {"data (GB)": None, "run": None, "batch_varying": False}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("StateMachineDoesNotExist", f"there is no state machine {MACHINE}"),
        ("StateMachineTypeNotSupported", f"{MACHINE} is an EXPRESS machine"),
    ],
)
def test_a_machine_that_has_no_listing_is_reported_with_one_sentence(answers, capsys, tmp_path, code, expected):
    answers(ListExecutions=Refusal(code))
    assert main(["history", MACHINE, "--out", str(tmp_path / "times.csv")]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_csv_of_one_execution_is_refused(capsys, tmp_path):
    assert main(["history", ARN, "--out", str(tmp_path / "times.csv")]) == 2
    assert "--out goes with the ARN of a state machine" in capsys.readouterr().err
