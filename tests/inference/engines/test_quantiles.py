"""Models whose `.onnx` file gives quantiles, with their levels in its metadata."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.engines.load import open_engine
from inference.engines.quantiles import quantile_at
from inference.errors import BadCheckpoint

LEVELS = [0.05, 0.16, 0.5, 0.84, 0.95]


def model(path, outputs=("quantiles",), offsets=(-0.2, -0.1, 0.0, 0.1, 0.3), levels=LEVELS):
    """A model that gives the r magnitude plus offsets, or one of them for each output."""
    shares = [offsets] if outputs[0] == "quantiles" else [[offset] for offset in offsets]
    given = dict(zip(outputs, shares, strict=False))
    constants = [numpy_helper.from_array(np.array([2]), "r")]
    constants += [numpy_helper.from_array(np.array([each], np.float32), f"of {name}") for name, each in given.items()]
    nodes = [helper.make_node("Gather", ["magnitudes", "r"], ["mag_r"], axis=1)]
    nodes += [helper.make_node("Add", ["mag_r", f"of {name}"], [name]) for name in given]
    inputs = {"image": ["B", 5, 32, 32], "magnitudes": ["B", 5]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", len(each)]) for name, each in given.items()]
    graph = helper.make_graph(nodes, "g", ends, outs, constants)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if levels is not None:
        helper.set_model_props(whole, {"quantile_levels": json.dumps(levels)})
    onnx.save(whole, path)
    return path


def predicted(path, count=3):
    magnitudes = np.arange(1, 1 + count)[:, None] * np.ones((1, 5))
    return open_engine("onnxruntime", path).predict_columns(np.zeros((count, 5, 32, 32), np.float32), magnitudes)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_quantiles_give_the_median_as_redshift_and_both_sides(tmp_path, count):
    columns = predicted(model(tmp_path / "q.onnx"), count)
    r = np.arange(1, 1 + count)
    assert set(columns) == {"quantiles", "z_pred", "z_q16", "z_q84"}
    for name, offset in (("z_pred", 0.0), ("z_q16", -0.1), ("z_q84", 0.1)):
        assert columns[name].dtype == np.float32
        assert columns[name] == pytest.approx(r + offset)
    assert columns["quantiles"].shape == (count, 5)


def test_other_levels_are_interpolated_as_a_normal_distribution_has_them():
    assert quantile_at(0.16, np.array([[-1.0, 0.0, 1.0]]), [0.1, 0.5, 0.9]) == pytest.approx(-0.776, abs=1e-3)
    assert quantile_at(0.5, np.array([[0.0, 3.0]]), [0.1, 0.9]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "names", [("redshift", "q16", "q84"), ("z", "z_q16", "z_q84"), ("zphot", "quantile_16", "q_84")]
)
def test_single_quantiles_are_known_by_their_names(tmp_path, names):
    engine = open_engine("onnxruntime", model(tmp_path / "q.onnx", names, (0.0, -0.1, 0.2), None))
    assert engine.gives_uncertainty
    columns = predicted(tmp_path / "q.onnx")
    assert columns["z_q84"] - columns["z_pred"] == pytest.approx([0.2] * 3, abs=1e-6)
    assert set(columns) == {"z_pred", "z_q16", "z_q84"}


def test_quantiles_alone_need_their_levels(tmp_path):
    with pytest.raises(BadCheckpoint, match="quantiles and does not say which: its metadata need quantile_levels"):
        predicted(model(tmp_path / "q.onnx", levels=None))
    assert not open_engine("onnxruntime", model(tmp_path / "r.onnx", ("redshift",), (0.0,), None)).gives_uncertainty


@pytest.mark.parametrize(
    "levels", [[0.5], [0.9, 0.5, 0.1, 0.2, 0.3], [0.2, 0.3, 0.5, 0.7, 0.9], "x", [0, 0.1, 0.5, 0.9, 1]]
)
def test_levels_that_are_none_are_refused_by_name(tmp_path, levels):
    with pytest.raises(BadCheckpoint, match=r"q\.onnx: its quantile_levels must be ascending"):
        predicted(model(tmp_path / "q.onnx", levels=levels))


def test_levels_must_be_as_many_as_the_quantiles(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"has 3 quantile_levels, but quantiles \(5,\)"):
        predicted(model(tmp_path / "q.onnx", levels=[0.1, 0.5, 0.9]))
    with pytest.raises(BadCheckpoint, match="not one output called quantiles"):
        predicted(model(tmp_path / "q.onnx", ("redshift",), (0.0,)))
