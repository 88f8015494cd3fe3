import json

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.planning.foretold import as_stored, foretell, one_line
from tasks.preflight import prepare
from tests.support.surveys import SIZES, request_of, snapshot


def prepared(store, **changes):
    return prepare(RunRequest.read(request_of(**changes)), str(store), "local", 2)


def test_a_run_is_predicted_before_it_starts_in_one_line(store):
    found = prepared(store).prediction
    assert (found.ranks, found.samples) == (4, sum(SIZES))
    assert one_line(found).startswith("Expected: makespan ")
    assert "shipped measurements" in one_line(found)
    assert as_stored(found)["usd"]["low"] <= as_stored(found)["usd"]["high"]


def test_a_bill_above_max_cost_is_refused_and_nothing_written(store):
    before = snapshot(store)
    with pytest.raises(BadInput, match=r"expected to cost .* more than max_cost, \$1e-07"):
        prepared(store, max_cost=1e-7)
    assert snapshot(store) == before
    assert prepared(store, max_cost=1.0).prediction is not None


def test_a_bill_that_nobody_can_tell_is_above_every_max_cost(store):
    found = prepared(store)
    request = RunRequest.read(request_of(max_cost=1.0, region="mars-north-1"))
    with pytest.raises(BadInput, match="max_cost: the bill cannot be predicted: no price is known"):
        foretell(request, str(store), found.executor, found.listing, found.weights)


def test_a_summary_that_somebody_has_edited_stops_no_run(store):
    for number, document in enumerate(({"ranks": [1]}, [], {"ranks": [], "request": {"batch_size": "x"}})):
        path = store / "cosmicai-test" / "results" / str(number) / "summary.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document))
    assert prepared(store).prediction is not None


def test_partitions_that_are_yet_to_be_made_are_foreseen_by_their_source(store, tmp_path):
    source = tmp_path / "survey.pt"
    source.write_bytes((store / "cosmicai-test" / "survey" / "1.pt").read_bytes())
    found = prepared(store, data_prefix="new", partition={"source": str(source), "size": 15}).prediction
    assert found.ranks == 3
