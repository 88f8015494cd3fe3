import dataclasses
import pickle
import shutil

import pytest
import torch

from inference.contract.object_keys import calibration_key
from inference.contract.run_request import RunRequest
from inference.errors import BadCheckpoint, BadInput, StoreError
from inference.model.checkpoint import content_hash, export_onnx, onnx_path, save
from inference.storage.store import Store
from tasks.photoz.calibration import Calibration
from tasks.staging.weights import DEMO_WEIGHTS, Weights, find_weights, put_weights
from tests.inference.engines.test_quantiles import model as quantile_model
from tests.support.models import KINDS, TINY, random_model
from tests.support.surveys import request_of, snapshot

BUCKET = "cosmicai-test"


@pytest.fixture
def folder(tmp_path):
    """The store's own folder of models, with one in it."""
    folder = tmp_path / "store" / BUCKET / "models"
    folder.mkdir(parents=True)
    save(folder / "tiny.safetensors", random_model(TINY))
    return folder


@pytest.fixture
def store(tmp_path, folder):
    return Store(tmp_path / "store")


def find(store, model="models/tiny.safetensors", engine="torch"):
    return find_weights(RunRequest.read(request_of(model=model, engine=engine)), store)


def refused(kind, store, model, folder, engine="torch"):
    before = snapshot(folder.parent)
    with pytest.raises(kind) as raised:
        find(store, model, engine)
    assert "\n" not in str(raised.value)
    assert snapshot(folder.parent) == before
    return str(raised.value)


class TestFindingWeights:
    def test_a_key_in_the_bucket_is_used_where_it_lies(self, store, folder):
        found = find(store)
        path = folder / "tiny.safetensors"
        assert found == Weights(path, "models/tiny.safetensors", content_hash(path), None, in_bucket=True)

    def test_a_key_in_the_bucket_comes_before_a_file_of_that_name(self, store, folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "models").mkdir()
        save(tmp_path / "models" / "tiny.safetensors", random_model(TINY, seed=1))
        assert find(store).sha256 == content_hash(folder / "tiny.safetensors")

    @pytest.mark.parametrize(
        "named", ["mine/other.safetensors", "./mine/other.safetensors", "absolute", "~/mine/other.safetensors"]
    )
    def test_a_file_gets_a_key_that_its_content_names(self, store, tmp_path, monkeypatch, named):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        path = tmp_path / "mine" / "other.safetensors"
        path.parent.mkdir()
        save(path, random_model(TINY, seed=1))
        found = find(store, str(path) if named == "absolute" else named)
        sha256 = content_hash(path)
        assert (found.path.resolve(), found.sha256) == (path, sha256)
        assert found.key == f"models/other-{sha256[:16]}.safetensors"

    def test_without_a_model_the_demo_weights_are_meant(self, store):
        found = find(store, None)
        assert found.path == DEMO_WEIGHTS
        assert found.key == f"models/demo-{found.sha256[:16]}.safetensors"

    @pytest.mark.parametrize(
        "model",
        [
            "models/none.safetensors",
            "models",
            "/nowhere/none.safetensors",
            "/",
            "./none.safetensors",
            "~nobody-of-that-name/none.safetensors",
            "/" + "a" * 300,
        ],
    )
    def test_what_is_neither_a_key_nor_a_file_is_named(self, store, folder, model):
        message = refused(BadInput, store, model, folder)
        assert f"neither a key {model!r} in {BUCKET} nor such a file" in message

    @pytest.mark.parametrize("model", ["", "models/../../secret.safetensors", "a//b", "a\nb"])
    def test_what_is_no_key_at_all_is_refused(self, store, folder, model):
        assert "model" in refused(BadInput, store, model, folder)

    @pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
    def test_a_checkpoint_of_other_images_is_refused_by_name(self, store, folder, engine):
        save(folder / "other.safetensors", random_model(KINDS["other sizes"]))
        message = refused(BadCheckpoint, store, "models/other.safetensors", folder, engine)
        assert "other.safetensors takes images of 4 bands and 16 pixels" in message
        assert "5 and 32" in message

    @pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
    def test_a_pickled_file_is_refused_and_not_unpickled(self, store, folder, engine, tmp_path):
        class Canary:
            def __reduce__(self):
                return (exec, (f"open({str(tmp_path / 'canary')!r}, 'w')",))

        torch.save({"model": Canary()}, folder / "whole.pt")
        (folder / "bare.pkl").write_bytes(pickle.dumps(Canary()))
        for name in ("whole.pt", "bare.pkl"):
            assert f"{name} is a pickled checkpoint" in refused(BadCheckpoint, store, f"models/{name}", folder, engine)
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_no_numbers_are_refused_by_tensor(self, store, folder, engine, value):
        model = random_model(TINY)
        with torch.no_grad():
            model.head[0].bias[3] = value
        save(folder / "broken.safetensors", model)
        message = refused(BadCheckpoint, store, "models/broken.safetensors", folder, engine)
        assert "broken.safetensors: tensor head.0.bias" in message

    @pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
    def test_a_truncated_checkpoint_is_refused_by_name(self, store, folder, engine):
        path = folder / "short.safetensors"
        path.write_bytes((folder / "tiny.safetensors").read_bytes()[:-100])
        assert "short.safetensors" in refused(BadCheckpoint, store, "models/short.safetensors", folder, engine)

    @pytest.mark.slow
    def test_for_onnxruntime_the_graph_is_found_beside_the_weights(self, tiny_weights, tmp_path):
        found = find(Store(tmp_path / "empty"), str(tiny_weights), "onnxruntime")
        assert found.graph == onnx_path(tiny_weights) == export_onnx(tiny_weights)


class TestPuttingWeights:
    @pytest.fixture
    def weights(self, folder, tmp_path):
        """Weights outside the bucket, with a graph (whose content nobody looks at here)."""
        path = tmp_path / "mine.safetensors"
        shutil.move(folder / "tiny.safetensors", path)
        sha256 = content_hash(path)
        graph = tmp_path / "mine.0123.onnx"
        graph.write_bytes(b"graph")
        return Weights(path, f"models/mine-{sha256[:16]}.safetensors", sha256, graph)

    def test_weights_and_graph_are_uploaded_once(self, store, weights, folder):
        model, written = put_weights(weights, BUCKET, store)
        assert written == [model.key, model.graph] == [weights.key, f"{weights.key[:-12]}.0123.onnx"]
        assert model.sha256 == weights.sha256 == content_hash(folder.parent / model.key)
        assert store.read(BUCKET, model.graph) == b"graph"
        before = snapshot(folder.parent)
        assert put_weights(weights, BUCKET, store) == (model, [])
        assert snapshot(folder.parent) == before

    def test_a_copy_of_another_size_is_replaced(self, store, weights, folder):
        model, _ = put_weights(weights, BUCKET, store)
        (folder.parent / model.key).write_bytes(b"half")
        assert put_weights(weights, BUCKET, store) == (model, [model.key])
        assert content_hash(folder.parent / model.key) == weights.sha256

    def test_put_weights_replaces_an_object_of_the_same_size_with_other_bytes(self, store, weights, folder):
        model, _ = put_weights(weights, BUCKET, store)
        for key in (model.key, model.graph):
            path = folder.parent / key
            path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
        assert put_weights(weights, BUCKET, store) == (model, [model.key, model.graph])
        assert content_hash(folder.parent / model.key) == weights.sha256
        assert store.read(BUCKET, model.graph) == b"graph"

    def test_put_weights_exports_a_changed_graph_of_the_bucket_again(self, store, folder):
        request = RunRequest.read(request_of(model="models/tiny.safetensors"))
        model, _ = put_weights(find_weights(request, store), BUCKET, store)
        path = folder.parent / model.graph
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
        assert put_weights(find_weights(request, store), BUCKET, store)[0] == model
        assert content_hash(path) == model.graph_sha256

    def test_weights_that_lie_in_the_bucket_stay_where_they_are(self, store, folder):
        before = snapshot(folder.parent)
        model, written = put_weights(find(store), BUCKET, store)
        assert (model.key, model.graph, written) == ("models/tiny.safetensors", None, [])
        assert snapshot(folder.parent) == before

    def test_the_demo_weights_go_into_a_bucket_that_is_not_there_yet(self, tmp_path):
        store = Store(tmp_path / "new")
        model, written = put_weights(find(store, None), BUCKET, store)
        assert written == [model.key, calibration_key(model.key)]
        assert store.read(BUCKET, model.key) == DEMO_WEIGHTS.read_bytes()

    def test_a_store_that_cannot_be_written_is_named(self, weights, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=BUCKET):
            put_weights(weights, BUCKET, Store(tmp_path / "file" / "store"))


def test_own_models_uncertainty_stands_in_for_its_calibration(store, tmp_path):
    path = quantile_model(tmp_path / "own.onnx")
    weights = find(store, str(path), "onnxruntime")
    put_weights(weights, BUCKET, store)
    stored = Calibration.read(store.read(BUCKET, calibration_key(weights.key)), "it", weights.sha256)
    assert stored.own and stored.made["galaxies"] == 0
    made = dataclasses.replace(stored, made={"galaxies": 700, "bins": [1, 1]}).to_json()
    path.with_name("own.onnx.calibration.json").write_bytes(made)
    assert find(store, str(path), "onnxruntime").calibration == made, "one beside the file is the better one"
    store.write(BUCKET, calibration_key(weights.key), made)
    put_weights(weights, BUCKET, store)
    assert store.read(BUCKET, calibration_key(weights.key)) == made, "a calibration that is there stays"
