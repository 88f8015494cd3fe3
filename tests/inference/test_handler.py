import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inference.contract.rank_result import RankResult
from inference.contract.run_request import RunRequest
from inference.errors import BadCheckpoint, BadInput, BadPartition, CosmicError, RankFailed, StoreError
from inference.handler import lambda_handler
from inference.model.checkpoint import content_hash, export_onnx, load, save
from inference.partitions.partition import open_partition, write_partition
from inference.rank_results.predictions import decode
from inference.resource_usage import vector_instructions
from inference.runs.plan import Model, make_plan
from inference.storage.store import Store
from inference.worker import LocalContext
from tests.support.models import TINY, random_model
from tests.support.surveys import SIZES, random_survey, request_of, snapshot, write_survey

BUCKET = "cosmicai-test"
MODEL = "models/tiny.safetensors"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small model, of the torch engine, which needs no export."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, random_model(TINY))
    return path


@pytest.fixture
def root(tmp_path, weights, monkeypatch):
    monkeypatch.setenv("COSMIC_THREADS", "1")
    write_survey(tmp_path / "store" / BUCKET / "survey")
    (tmp_path / "store" / BUCKET / "models").mkdir()
    shutil.copy(weights, tmp_path / "store" / BUCKET / MODEL)
    return tmp_path / "store"


@pytest.fixture
def events(root):
    """Events of a run over the store, one a partition unless the request says otherwise."""

    def planned(**changes):
        store = Store(root)
        request = RunRequest.read(request_of(engine="torch", **changes))
        model = Model(MODEL, content_hash(root / BUCKET / MODEL))
        return make_plan(request, store.list(BUCKET, "survey"), model, store.root).events

    return planned


def call(event, **changes):
    return lambda_handler(dataclasses.replace(event, **changes).to_wire(), None)


def results(root):
    return {name for name in snapshot(root / BUCKET) if name.startswith("results")}


def refused(kind, root, event, **changes):
    """The one sentence of an error after which nothing lies under the result path that did not before."""
    before = snapshot(root)
    with pytest.raises(kind) as raised:
        call(event, **changes)
    assert "\n" not in str(raised.value)
    assert snapshot(root) == before
    return str(raised.value)


def test_a_rank_leaves_its_result_and_the_redshifts_that_the_result_names(root, events):
    event = events()[1]
    result = call(event)
    assert results(root) == {"results/test/1.json", result["predictions_path"]}
    assert json.loads((root / BUCKET / "results/test/1.json").read_text()) == result
    files, columns = decode((root / BUCKET / result["predictions_path"]).read_bytes(), "predictions")
    assert files == ["survey/2.pt"]
    assert columns["index"].tolist() == list(range(SIZES[1]))
    part = open_partition(root / BUCKET / "survey/2.pt", "2.pt")
    np.testing.assert_array_equal(columns["z_spec"], part.redshifts)
    expected = predicted(root / BUCKET / MODEL, part)
    np.testing.assert_allclose(columns["z_pred"], expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3, "the order matters"


def predicted(weights, part):
    import torch

    with torch.inference_mode():
        return load(weights)(torch.tensor(part.images), torch.tensor(part.magnitudes))[:, 0].numpy()


def test_a_rank_of_several_partitions_gives_the_samples_of_all_in_order(root, events):
    (event,) = events(world_size=1)
    result = call(event)
    assert result["data_path"] == [f"survey/{n}.pt" for n in (1, 2, 3, 4)]
    assert result["samples"] == sum(SIZES)
    assert result["num_batches"] == sum(-(-size // 16) for size in SIZES), "a batch never spans two files"
    files, columns = decode((root / BUCKET / result["predictions_path"]).read_bytes(), "predictions")
    assert [files[n] for n in columns["file"]] == [
        f"survey/{n}.pt" for n, size in enumerate(SIZES, 1) for _ in range(size)
    ]
    assert columns["index"].tolist() == [index for size in SIZES for index in range(size)]


def test_a_survey_without_redshifts_is_predicted(root, events):
    write_partition(root / BUCKET / "survey/1.pt", *random_survey(20)[:2], None)
    result = call(events()[0])
    _, columns = decode((root / BUCKET / result["predictions_path"]).read_bytes(), "predictions")
    assert np.isnan(columns["z_spec"]).all()
    assert np.isfinite(columns["z_pred"]).all()


@pytest.mark.parametrize("size", [1, 16, 1000])
def test_redshifts_do_not_depend_on_the_batch_size(root, events, size):
    made = {}
    for batch_size in (size, 7):
        event = events(batch_size=batch_size, result_path=f"results/{batch_size}")[0]
        result = call(event)
        assert result["num_batches"] == -(-SIZES[0] // batch_size)
        _, columns = decode((root / BUCKET / result["predictions_path"]).read_bytes(), "predictions")
        made[batch_size] = columns["z_pred"]
    np.testing.assert_allclose(made[size], made[7], atol=1e-5)


class TestARankThatIsDone:
    def test_a_second_call_returns_the_first_result_and_leaves_nothing_else(self, root, events):
        event = events()[0]
        first = call(event)
        before = snapshot(root)
        assert call(event, attempt=2) == first
        assert snapshot(root) == before

    @pytest.mark.parametrize(
        "other",
        ["another fingerprint", "another rank", "no JSON", "no result"],
    )
    def test_a_foreign_object_in_the_results_place_fails_the_rank(self, root, events, other):
        event = events()[0]
        place = root / BUCKET / "results/test/0.json"
        if other == "another fingerprint":
            call(event, fingerprint="another")
        elif other == "another rank":
            call(events()[1])
            place.with_name("1.json").rename(place)
        else:
            place.parent.mkdir(parents=True)
            place.write_text({"no JSON": "{", "no result": "{}"}[other])
        message = refused(RankFailed, root, event)
        assert "rank 0: results/test/0.json" in message
        assert "--fresh" in message


class TestARankThatCannotBeDone:
    def test_a_partition_that_changed_since_the_plan_is_refused_by_name(self, root, events):
        event = events()[1]
        write_partition(root / BUCKET / "survey/2.pt", *random_survey(31, seed=9))
        assert "survey/2.pt has changed since the run was planned" in refused(BadPartition, root, event)
        assert call(event, data_etags=())["samples"] == 31, "without a known ETag, it is taken as it is"

    def test_a_partition_that_vanished_is_refused_by_name(self, root, events):
        event = events()[1]
        (root / BUCKET / "survey/2.pt").unlink()
        assert f"survey/2.pt is gone from {BUCKET}" in refused(BadPartition, root, event)

    def test_a_bad_partition_among_good_ones_leaves_nothing_of_the_good_ones(self, root, events):
        path = root / BUCKET / "survey/3.pt"
        path.write_bytes(path.read_bytes()[:5000])
        assert "survey/3.pt" in refused(BadPartition, root, *events(world_size=1))

    def test_a_galaxy_that_is_no_number_is_refused_by_file_and_sample(self, root, events):
        images, magnitudes, redshifts = random_survey(20)
        images[17, 2, 5, 5] = np.nan
        write_partition(root / BUCKET / "survey/1.pt", images, magnitudes, redshifts)
        message = refused(BadPartition, root, events()[0])
        assert "survey/1.pt" in message
        assert "sample 17" in message

    def test_a_redshift_that_is_not_finite_is_refused_by_file_and_sample(self, root, events):
        model = random_model(TINY)
        for name in ("head.0.bias", "head.2.weight"):
            model.state_dict()[name].fill_(1e30)
        save(root / BUCKET / MODEL, model)
        assert "survey/1.pt: the model gives no finite redshift for sample 0" in refused(
            BadPartition, root, events()[0]
        )

    def test_a_model_of_another_content_is_refused_by_name(self, root, events):
        event = events()[0]
        save(root / BUCKET / MODEL, random_model(TINY, seed=1))
        assert f"{BUCKET}/{MODEL} is not the one" in refused(StoreError, root, event)

    def test_a_model_that_is_gone_is_refused_by_name(self, root, events):
        event = events()[0]
        (root / BUCKET / MODEL).unlink()
        assert f"{BUCKET}/{MODEL}: no such object" in refused(StoreError, root, event)

    def test_a_model_that_is_none_is_refused_by_name(self, root, events):
        (root / BUCKET / MODEL).write_bytes(b"no model")
        assert "tiny.safetensors is not a safetensors file" in refused(BadCheckpoint, root, events()[0])

    def test_an_engine_that_does_not_exist_is_refused(self, root, events):
        assert "engine" in refused(BadInput, root, events()[0], engine="abacus")

    @pytest.mark.parametrize("event", [None, [], "event", 7, {}, {"RANK": "0"}])
    def test_an_event_that_is_none_is_refused(self, event):
        with pytest.raises(BadInput):
            lambda_handler(event, None)

    def test_every_key_of_the_event_is_checked_first(self, root, events):
        wire = events()[0].to_wire()
        before = snapshot(root)
        wrong = {"RANK": "4", "DATA_PATH": "../secret", "BATCH_SIZE": 0, "RESULT_PATH": "/etc", "S3_BUCKET": ".."}
        for key, value in wrong.items():
            with pytest.raises(BadInput, match=key):
                lambda_handler(wire | {key: value}, None)
        assert snapshot(root) == before

    def test_a_failed_attempt_does_not_spoil_the_next_one(self, root, events):
        event = events()[0]
        away = root / BUCKET / "away"
        (root / BUCKET / "survey/1.pt").rename(away)
        with pytest.raises(CosmicError):
            call(event)
        away.rename(root / BUCKET / "survey/1.pt")
        assert call(event, attempt=2)["attempt"] == 2


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_with_a_graph_the_weights_are_not_touched(root, events, precision):
    event, part = events()[0], open_partition(root / BUCKET / "survey/1.pt", "1.pt")
    expected = predicted(root / BUCKET / MODEL, part)
    graph = export_onnx(root / BUCKET / MODEL, precision)
    (root / BUCKET / MODEL).unlink()
    changes = {"engine": "onnxruntime", "precision": precision, "graph": f"models/{graph.name}"}
    result = call(event, **changes)
    _, columns = decode((root / BUCKET / result["predictions_path"]).read_bytes(), "predictions")
    np.testing.assert_allclose(columns["z_pred"], expected, rtol=0, atol=1e-5 if precision == "float32" else 1e-2)
    assert result["instructions"] == vector_instructions()
    assert (result["precision"], result["precision_error"] > 0) == (precision, precision == "int8")
    assert result["model_mb"] == graph.stat().st_size / 1e6


def test_the_graph_of_other_weights_fails_the_rank(root, events, tmp_path):
    save(tmp_path / "other.safetensors", random_model(TINY, seed=1))
    shutil.copy(export_onnx(tmp_path / "other.safetensors"), root / BUCKET / "models" / "other.onnx")
    changes = {"engine": "onnxruntime", "graph": "models/other.onnx"}
    assert "is not the graph of the weights" in refused(CosmicError, root, events()[0], **changes)


class TestWhatAResultTells:
    def test_its_stages_add_up(self, root, events):
        result = call(events(world_size=1)[0])
        for clock in ("wall", "cpu"):
            stages = sum(result[f"{clock}_{stage}_s"] for stage in ("load", "read", "compute", "write"))
            assert 0 < stages <= result[f"{clock}_total_s"]
        assert result["wall_compute_s"] <= result["wall_loop_s"] <= result["wall_total_s"]
        assert result["started_at"] < result["ended_at"]

    def test_its_memory_and_its_model_are_those_of_the_process(self, root, events):
        result = call(events()[0])
        assert result["peak_rss_mb"] >= result["idle_rss_mb"] > 10
        assert result["model_mb"] == (root / BUCKET / MODEL).stat().st_size / 1e6
        assert (result["engine"], result["precision"]) == ("torch", "float32")

    def test_its_requests_are_this_ranks_own(self, root, events):
        written = []
        for event in events()[:2]:
            result = call(event)
            written.append((root / BUCKET / result["predictions_path"]).stat().st_size)
            assert result["store_bytes_written"] == written[-1]
            assert result["store_bytes_read"] == 0, "a local partition is mapped"
            assert result["store_requests"] == 2, "a look at the partition, and the redshifts"
            assert result["started_at"] <= result["store_first_at"] <= result["store_last_at"] <= result["ended_at"]
            assert result["store_min_s"] <= result["store_max_s"] <= result["store_seconds"]

    def test_its_context_is_the_functions(self, root, events):
        context = LocalContext(memory_limit_in_mb=3008)
        result = lambda_handler(events()[0].to_wire(), context)
        assert (result["memory_limit_mb"], result["request_id"]) == (3008, context.aws_request_id)
        assert RankResult.from_wire(result).to_wire() == result


def test_a_process_is_cold_once_and_leaves_no_scratch_files(root, events, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    lines = "".join(json.dumps(event.to_wire()) + "\n" for event in events())
    done = subprocess.run(
        [sys.executable, "-m", "inference.worker"],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    _, *replies = [json.loads(line) for line in done.stdout.splitlines()]
    found = [reply["result"] for reply in replies]
    assert [result["rank"] for result in found] == [0, 1, 2, 3]
    assert [result["cold"] for result in found] == [True, False, False, False]
    assert len({result["worker"] for result in found}) == 1
    assert len({result["request_id"] for result in found}) == 4
    assert not list(scratch.iterdir()), "a local store is read where it lies"


def test_a_warm_process_keeps_its_model_and_reads_it_once_only(root, events):
    first, second = events()[:2]
    call(first)
    save(root / BUCKET / MODEL, random_model(TINY, seed=1))
    result = call(second)
    assert result["model_sha256"] == first.model_sha256 != content_hash(root / BUCKET / MODEL)


def test_the_handler_itself_loads_neither_torch_nor_onnxruntime():
    code = (
        "import sys, inference.handler; print(sorted({'torch', 'onnxruntime', 'prefect', 'pandas'} & set(sys.modules)))"
    )
    raised = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert raised.stdout.strip() == "[]"
