import json
import time

import numpy as np
import pytest

from inference.contract.run_request import RunRequest
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadCheckpoint, BadInput
from inference.partitions.partition import write_partition
from inference.storage.store import Store
from tasks.planning.history import read_run
from tasks.planning.planned_run import as_wide_as_seen, model_of, place_of, predict_request, samples_of_ranks
from tasks.staging.known_survey import shape_of_galaxies
from tasks.staging.weights import find_weights
from tests.support.surveys import SIZES, request_of
from tests.tasks.planning.test_fit import KIND, document, past

PAPER = {"model": None, "partition": {"source": "none.pt", "size": "50MB"}}


def test_without_history_what_is_shipped_predicts_and_says_so(store):
    found = predict_request(RunRequest.read(request_of()), str(store), "local", 2)
    assert (found.ranks, found.samples) == (4, sum(SIZES))
    assert "shipped measurements" in found.source
    assert any("not yours" in note for note in found.notes)
    assert found.makespan_s.low <= found.makespan_s.p50 <= found.makespan_s.p90 <= found.makespan_s.high
    assert found.end_to_end_s.p50 > found.makespan_s.p50


def test_a_data_set_on_paper_needs_no_partitions(store):
    found = predict_request(RunRequest.read(request_of(**PAPER)), str(store), "step-functions", None, on_paper="12.6GB")
    assert found.ranks == 259
    assert {"compute", "state transitions"} <= found.lines.keys()
    assert all(check.ok for check in found.checks)


def test_partitions_too_large_for_the_memory_fail_a_check(store):
    request = RunRequest.read(request_of(**PAPER, memory_mb=2048))
    found = predict_request(request, str(store), "lambda", None, on_paper="1GB")
    assert [check.name for check in found.checks if not check.ok] == ["memory"]


def test_a_request_without_partitions_is_refused(store):
    with pytest.raises(BadInput, match="no partitions"):
        predict_request(RunRequest.read(request_of(data_prefix="none")), str(store), "local", 2)


@pytest.mark.parametrize(
    ("samples", "is_said"), [((100,), False), ((60, 400, 400), False), ((401, 401), True), ((40,), True)]
)
def test_ranks_of_another_size_than_any_before_are_said(samples, is_said):
    place = place_of(RunRequest.read(request_of()), "local", 1)
    _, notes = model_of([past(samples=(100, 200))], dict(KIND), place, parameters=None, samples=samples)
    assert any(f"and this run's have {samples[-1]}: the prediction reaches beyond" in note for note in notes) == is_said


def test_other_cut_outs_are_counted_by_their_own_size(tmp_path):
    facts = SurveyFacts(bands=("g", "r", "i", "z"))
    images = np.ones((30, 4, 64, 64), np.float32)
    folder = tmp_path / "cosmicai-test" / "survey"
    folder.mkdir(parents=True)
    write_partition(folder / "1.pt", images, np.full((30, 4), 20.0), np.full(30, 0.1), facts=facts)
    request = RunRequest.read(request_of(model=None))
    listing = Store(tmp_path).list("cosmicai-test", "survey")
    assert shape_of_galaxies(request, Store(tmp_path), listing) == (4, 64, 64)
    assert samples_of_ranks(request, listing, (4, 64, 64)) == ((30,), 1)
    with pytest.raises(BadCheckpoint, match="takes images of 5 bands and 32 pixels a side; partitions hold 4 and 64"):
        predict_request(request, str(tmp_path), "local", 1)


def test_a_state_machine_that_ran_more_at_once_than_asked_is_as_wide():
    place = place_of(RunRequest.read(request_of(max_concurrency=1)), "step-functions", None)
    wanted = KIND | {"executor": "step-functions", "function": "f"}
    both = past(executor="step-functions", function="f")
    for rank, row in enumerate(both.document["ranks"]):
        row |= {"started_at": 0.1 * rank, "ended_at": 5.0}
    seen = [read_run(both.document, "a run")]
    assert as_wide_as_seen(place, seen, wanted).concurrency == 2
    assert as_wide_as_seen(place, seen, wanted | {"function": "g"}).concurrency == 1


def test_shipped_times_are_corrected_by_the_speed_of_a_local_machine(store, monkeypatch):
    request = RunRequest.read(request_of())

    def at(pace):
        monkeypatch.setattr("tasks.planning.planned_run.pace", lambda: pace)
        return predict_request(request, str(store), "local", 2)

    usual, slow = at(1.0), at(4.0)
    assert slow.makespan_s.p50 == pytest.approx(4 * usual.makespan_s.p50, rel=0.2)
    assert slow.end_to_end_s.p50 == pytest.approx(4 * usual.end_to_end_s.p50, rel=0.2)
    assert slow.source.startswith("shipped measurements, times 4.0 for the speed of this machine now: 9 runs")


def keep(store, folder, worker, request):
    found = document(
        executor="lambda",
        model={"sha256": find_weights(request, Store(store)).sha256},
        engine=request.engine,
        precision=request.precision,
        function=request.function_name,
        function_memory_mb=request.memory_mb,
    )
    for row in found["ranks"]:
        ended_at = time.time() - 60 + row["ended_at"]
        row |= {"started_at": ended_at - row["wall_total_s"], "ended_at": ended_at, "worker": worker}
    Store(store).write(request.bucket, f"{folder}/summary.json", json.dumps(found).encode())


@pytest.mark.parametrize("folder", ["mine", "new"])
def test_a_function_warmed_from_another_folder_is_expected_warm(store, folder):
    request = RunRequest.read(request_of())
    keep(store, "mine/one", "a", request)
    keep(store, "theirs/one", "b", request)
    found = predict_request(request, str(store), "lambda", None, under=folder)
    assert "fitted from" in found.source
    assert found.cold_starts == len(SIZES) - 2
