import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from inference.engines.columns import predict_columns
from inference.engines.load import open_engine
from inference.errors import BadCheckpoint, BadInput
from inference.model.onnx_file import check_onnx_file
from inference.model.training_data import TrainingData
from tests.support.models import TINY, random_galaxies
from tests.support.own_models import OwnModel, exported

IMAGE, MAGNITUDES = ["batch", 5, 32, 32], ["batch", 5]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own.onnx"


def in_torch(model, *inputs):
    with torch.inference_mode():
        return [output.numpy() for output in model(*(torch.tensor(values, dtype=torch.float32) for values in inputs))]


@pytest.mark.parametrize("count", [0, 1, 7, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_own_model_gives_the_redshifts_that_it_gives_in_torch(count, threads, path):
    model = exported(path)
    images, magnitudes = random_galaxies(TINY, count)
    found = open_engine("onnxruntime", path, threads=threads).predict(images, magnitudes)
    assert (found.shape, found.dtype) == ((count,), np.float32)
    if count:
        np.testing.assert_allclose(found, in_torch(model, images, magnitudes)[0][:, 0], atol=1e-5)


@pytest.mark.parametrize(
    "inputs", [("image",), ("x",), ("CutOuts", "mags"), ("a", "b")], ids=lambda inputs: " and ".join(inputs)
)
def test_inputs_are_told_apart_by_name_or_shape(inputs, path):
    model = exported(path, OwnModel(magnitudes=len(inputs) == 2), inputs=inputs)
    given = random_galaxies(TINY, 5)
    found = open_engine("onnxruntime", path).predict(*given)
    np.testing.assert_allclose(found, in_torch(model, *given[: len(inputs)])[0][:, 0], atol=1e-5)


def test_further_outputs_become_columns(path):
    outputs = ("embedding", "redshift", "is_star", "sigma")
    model = exported(path, OwnModel(outputs=outputs), names=("Em bedding", "redshift", "is_star", "sigma"))
    given = random_galaxies(TINY, 40)
    columns = predict_columns(open_engine("onnxruntime", path, threads=2), *given)
    assert list(columns) == ["Em_bedding", "z_pred", "is_star", "z_err"]
    assert columns["Em_bedding"].shape == (40, 10)
    assert columns["is_star"].dtype == bool
    for values, wanted in zip(columns.values(), in_torch(model, *given), strict=True):
        np.testing.assert_allclose(values, wanted[:, 0] if values.shape != wanted.shape else wanted, atol=1e-5)


def test_training_data_in_the_metadata_flags_galaxies(path):
    exported(path)
    given = random_galaxies(TINY, 50)
    facts = TrainingData().with_ranges(*given, np.zeros(50))
    model = onnx.load(path)
    helper.set_model_props(model, {"training_data": json.dumps(facts.to_dict() | {"ranges": {"magnitude 1": [-9, 9]}})})
    onnx.save(model, path)
    given[1][3, 0] = -9999
    columns = predict_columns(open_engine("onnxruntime", path), *given)
    assert np.flatnonzero(columns["out_of_domain"]).tolist() == [3]


def graph(inputs, outputs, nodes=None, opset=17, **options):
    """A model with given inputs and outputs, (name, type, shape) each."""
    infos = [[helper.make_tensor_value_info(*entry) for entry in entries] for entries in (inputs, outputs)]
    nodes = nodes or [helper.make_node("ReduceMean", [inputs[0][0]], [outputs[0][0]], axes=[1, 2, 3], keepdims=0)]
    made = helper.make_graph(nodes, "own", *infos, **options)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


FLOAT = TensorProto.FLOAT
Z = [("redshift", FLOAT, ["batch"])]
WRONG = {
    "other pixels": ([("image", FLOAT, ["batch", 5, 64, 64])], Z, "its input 'image' is tensor"),
    "channels last": ([("image", FLOAT, ["batch", 32, 32, 5])], Z, r"images are floating \(B, 5, 32, 32\)"),
    "a fixed batch": ([("image", FLOAT, [1, 5, 32, 32])], Z, "takes batches of 1 only: export it with a dynamic"),
    "whole numbers": ([("image", TensorProto.INT64, IMAGE)], Z, "its input 'image' is tensor"),
    "no image": ([("magnitudes", FLOAT, MAGNITUDES)], Z, "one image input is needed"),
    "two images": ([("image", FLOAT, IMAGE), ("psf", FLOAT, IMAGE)], Z, "one image input is needed"),
    "a third input": ([("image", FLOAT, IMAGE), ("a", FLOAT, MAGNITUDES), ("b", FLOAT, MAGNITUDES)], Z, "at most one"),
    "magnitudes of an image's shape": ([("magnitudes", FLOAT, IMAGE)], Z, "its input 'magnitudes' is"),
    "a vector": ([("image", FLOAT, IMAGE), ("ebv", FLOAT, ["batch"])], Z, "its input 'ebv' is"),
    "two outputs without a redshift": (
        [("image", FLOAT, IMAGE)],
        [("a", FLOAT, ["batch"]), ("b", FLOAT, ["batch"])],
        "has the outputs 'a', 'b': one must be called redshift",
    ),
    "a class for a redshift": (
        [("image", FLOAT, IMAGE)],
        [("redshift", TensorProto.INT64, ["batch"])],
        "is tensor.int64., and a redshift and its uncertainty are floating numbers",
    ),
    "a column that is taken but for its case": (
        [("image", FLOAT, IMAGE)],
        [("redshift", FLOAT, ["batch"]), ("Z_Spec", FLOAT, ["batch"])],
        "rename its output 'Z_Spec'",
    ),
    "two columns alike but for their case": (
        [("image", FLOAT, IMAGE)],
        [("redshift", FLOAT, ["batch"]), ("prob", FLOAT, ["batch"]), ("PROB", FLOAT, ["batch"])],
        "rename its output 'PROB'",
    ),
    "a column that is taken": (
        [("image", FLOAT, IMAGE)],
        [("redshift", FLOAT, ["batch"]), ("index", FLOAT, ["batch"])],
        "rename its output 'index'",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_inputs_and_outputs_that_do_not_fit_are_refused(kind, path):
    inputs, outputs, expected = WRONG[kind]
    nodes = [
        helper.make_node("ReduceMean", [inputs[0][0]], [name], axes=list(range(1, len(inputs[0][2]))), keepdims=0)
        for name, *_ in outputs
    ]
    if inputs[0][1] == TensorProto.INT64:
        nodes = [
            helper.make_node("Cast", [inputs[0][0]], ["c"], to=FLOAT),
            helper.make_node("ReduceMean", ["c"], ["redshift"], axes=[1, 2, 3], keepdims=0),
        ]
    if outputs[0][1] == TensorProto.INT64:
        nodes[0].output[0] = "mean"
        nodes.append(helper.make_node("Cast", ["mean"], ["redshift"], to=TensorProto.INT64))
    onnx.save(graph(inputs, outputs, nodes), path)
    check_onnx_file(path)
    with pytest.raises(BadCheckpoint, match=expected) as caught:
        open_engine("onnxruntime", path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def shifted(outputs, by):
    """A model whose further outputs are the redshift and something."""
    named = [("redshift", FLOAT, ["batch"]), *((name, FLOAT, ["batch"]) for name in outputs)]
    nodes = [helper.make_node("ReduceMean", ["image"], ["redshift"], axes=[1, 2, 3], keepdims=0)]
    nodes += [helper.make_node("Add", ["redshift", f"by_{name}"], [name]) for name in outputs]
    constants = [helper.make_tensor(f"by_{name}", FLOAT, [1], [by]) for name, by in zip(outputs, by, strict=True)]
    return graph([("image", FLOAT, IMAGE)], named, nodes, initializer=constants)


@pytest.mark.parametrize(
    ("outputs", "by", "expected"),
    [
        (["sigma"], [-9.0], "negative standard deviation for each galaxy that was tried: if it is the logarithm"),
        (["q16", "q84"], [0.1, -0.1], "lower quantiles above higher ones for each galaxy"),
    ],
    ids=["a logarithm for sigma", "quantiles the wrong way round"],
)
def test_an_uncertainty_that_is_upside_down_is_refused(outputs, by, expected, path):
    onnx.save(shifted(outputs, by), path)
    with pytest.raises(BadCheckpoint, match=expected):
        open_engine("onnxruntime", path)


def test_a_redshift_in_four_axes_is_one_number_a_galaxy(path):
    nodes = [helper.make_node("ReduceMean", ["image"], ["redshift"], axes=[1, 2, 3], keepdims=1)]
    onnx.save(graph([("image", FLOAT, IMAGE)], [("redshift", FLOAT, ["batch", 1, 1, 1])], nodes), path)
    images = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1) * np.ones((3, 5, 32, 32), np.float32)
    assert open_engine("onnxruntime", path).predict(images, np.full((3, 5), 20.0)).tolist() == [0, 1, 2]


def test_what_onnxruntime_says_is_shown_without_its_own_source(path):
    made = graph([("image", FLOAT, IMAGE)], Z)
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 99))
    onnx.save(made, path)
    with pytest.raises(BadCheckpoint, match="is no graph that onnxruntime can run: ONNX Runtime only") as caught:
        open_engine("onnxruntime", path)
    assert "::" not in str(caught.value)


@pytest.mark.parametrize("outputs", [("all",), ("redshift", "all")], ids=" and ".join)
def test_outputs_that_are_not_one_row_a_galaxy_are_refused(outputs, path):
    exported(path, OwnModel(outputs=outputs))
    with pytest.raises(BadCheckpoint, match=r"has the shape \[1\] for 2 galaxies"):
        open_engine("onnxruntime", path)


def test_redshifts_that_depend_on_other_galaxies_of_the_batch_are_refused(path):
    exported(path, OwnModel(outputs=("of_the_batch",)), names=["redshift"])
    with pytest.raises(BadCheckpoint, match="gives the same galaxies other redshifts in another batch"):
        open_engine("onnxruntime", path)


def test_a_model_that_fails_on_some_batch_is_refused(path):
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["redshift"], axes=[1], keepdims=0),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, 5120])
    onnx.save(graph([("image", FLOAT, IMAGE)], Z, nodes, initializer=[shape]), path)
    with pytest.raises(BadCheckpoint, match="fails on a batch of 3 galaxies"):
        open_engine("onnxruntime", path)


@pytest.mark.parametrize(("engine", "precision"), [("torch", "float32"), ("onnxruntime", "int8")])
def test_other_engines_and_precisions_are_refused(engine, precision, path):
    exported(path)
    with pytest.raises(BadInput, match=r"an \.onnx model runs in engine onnxruntime in float32"):
        open_engine(engine, path, precision=precision)


def test_galaxies_of_another_shape_are_refused(path):
    exported(path)
    images, magnitudes = random_galaxies(TINY, 3)
    with pytest.raises(BadInput, match="images must be float32"):
        open_engine("onnxruntime", path).predict(images[:, :3], magnitudes)
