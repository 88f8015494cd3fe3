"""Models whose `.onnx` file gives quantiles, with their levels in its metadata."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from inference.engines.load import open_engine
from inference.engines.quantiles import quantile_at
from inference.errors import BadCheckpoint
from inference.model.checkpoint import read_config, save
from tests.support.models import QUANTILES, TINY, random_galaxies, random_model

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


class TestQuantileHead:
    @pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
    def test_head_gives_columns_that_never_cross_in_either_engine(self, tmp_path, engine):
        model, galaxies = random_model(QUANTILES), random_galaxies(QUANTILES, 70)
        save(tmp_path / "m.safetensors", model)
        opened = open_engine(engine, tmp_path / "m.safetensors")
        assert opened.gives_uncertainty
        found = opened.predict_columns(*galaxies)
        assert list(found) == ["z_pred", "z_q16", "z_q84"]
        assert (found["z_q16"] <= found["z_pred"]).all() and (found["z_pred"] <= found["z_q84"]).all()
        assert np.array_equal(found["z_pred"], opened.predict(*galaxies))
        double = model.double()(*map(torch.tensor, (galaxies[0].astype(np.float64), galaxies[1]))).detach().numpy()
        assert np.stack(list(found.values()), 1) == pytest.approx(double, abs=1e-5)

    def test_head_in_int8_stays_near_float32(self, tmp_path):
        save(tmp_path / "m.safetensors", random_model(QUANTILES))
        galaxies = random_galaxies(QUANTILES, 40)
        int8 = open_engine("onnxruntime", tmp_path / "m.safetensors", precision="int8")
        assert int8.predict_columns(*galaxies)["z_q84"].shape == (40,)
        assert 0 < int8.precision_error < 0.1

    def test_point_head_keeps_its_header_and_its_one_column(self, tmp_path):
        assert "head" not in TINY.to_dict() and QUANTILES.to_dict()["head"] == "quantiles"
        save(tmp_path / "p.safetensors", random_model(TINY))
        save(tmp_path / "q.safetensors", random_model(QUANTILES))
        assert read_config(tmp_path / "p.safetensors") == TINY and read_config(tmp_path / "q.safetensors") == QUANTILES
        opened = open_engine("onnxruntime", tmp_path / "p.safetensors")
        assert list(opened.predict_columns(*random_galaxies(TINY, 3))) == ["z_pred"] and not opened.gives_uncertainty
