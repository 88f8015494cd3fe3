"""What a run may lose and still be well, and what stops it: the flow as a whole, on local workers."""

import pytest

from flows.cli.commands.run import show
from flows.run import run
from inference.errors import BadInput, RunIncomplete
from tests.support.surveys import SIZES, read_json, request_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def results(store):
    return store / "cosmicai-test" / "results" / "test"


def spoil(store, *numbers):
    for number in numbers:
        (store / "cosmicai-test" / "survey" / f"{number}.pt").write_bytes(b"no partition")


def test_run_within_its_tolerance_succeeds_but_stays_partial(store, results, capsys):
    spoil(store, 2)
    document = run(request_of(tolerated_failure_count=1), str(store), workers=2)
    assert (document["ranks_done"], document["missing_ranks"], document["tolerated"]) == (3, [1], True)
    assert document["samples"] == sum(SIZES) - SIZES[1]
    assert "2.pt" in document["failed_ranks"][0]["error"]
    assert (results / "combined_data.partial.json").exists()
    assert not (results / "combined_data.json").exists()
    assert (results / "predictions.partial.parquet").exists()
    assert "NOT WHOLE, as tolerated: 1 of 4 ranks is missing" in (results / "report.html").read_text()
    assert read_json(results / "summary.json")["tolerated"] is True
    capsys.readouterr()
    show(document)
    first, cause, *_ = capsys.readouterr().out.splitlines()
    assert first == "NOT WHOLE, as tolerated: 1 of 4 ranks is missing"
    assert cause.startswith("  Rank 1: ")
    assert "2.pt" in cause


def test_partial_run_started_again_runs_the_missing_ranks(store):
    spoil(store, 2)
    request = request_of(tolerated_failure_percentage=25)
    content = (store / "cosmicai-test" / "survey" / "1.pt").read_bytes()
    assert run(request, str(store), workers=0)["tolerated"]
    (store / "cosmicai-test" / "survey" / "2.pt").write_bytes(content)
    document = run(request, str(store), workers=0)
    assert (document["ranks_resumed"], document["missing_ranks"], document["tolerated"]) == (3, [], False)


def test_run_above_its_tolerance_stops_before_trying_every_rank(store):
    spoil(store, 1, 2)
    with pytest.raises(RunIncomplete, match="the run was stopped: 1 rank failed, and none is tolerated") as caught:
        run(request_of(tolerated_failure_count=0), str(store), workers=1)
    document = caught.value.document
    assert document["stopped"].endswith("(tolerated_failure_count)")
    assert document["missing_ranks"] == [0, 1, 2, 3]
    assert [failure["error"] for failure in document["failed_ranks"]][1:] == [f"stopped: {document['stopped']}"] * 3
    assert "ranks 1, 2, 3: stopped" in str(caught.value), "causes are grouped"


def test_run_without_tolerance_tries_every_rank_and_fails(store):
    spoil(store, 1, 2)
    with pytest.raises(RunIncomplete) as caught:
        run(request_of(), str(store), workers=0)
    assert caught.value.document["missing_ranks"] == [0, 1]
    assert caught.value.document["stopped"] is None


def test_hedging_is_refused_for_a_state_machine():
    with pytest.raises(BadInput, match=r"^hedging: a state machine"):
        run(request_of(hedging=True), "s3://", executor="step-functions")
