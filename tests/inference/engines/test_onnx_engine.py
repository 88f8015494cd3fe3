import numpy as np
import onnx
import pytest

from inference.engines.load import open_engine
from inference.engines.onnx_session import parts_of
from inference.errors import BadCheckpoint, BadInput
from inference.model.checkpoint import content_hash, export_onnx, onnx_path, save
from tasks.photoz.metrics import photoz_metrics
from tasks.simulation.survey import simulate
from tasks.training.demo_weights import WEIGHTS
from tests.support.models import TINY, random_galaxies, random_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, random_model(TINY))
    return path


@pytest.mark.parametrize("count", [0, 1, 2, 7, 9, 31, 33, 64, 65, 100, 512, 10_000])
def test_parts_cover_a_batch_once_and_are_enough_for_a_functions_cores(count):
    parts = parts_of(count)
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(count))
    assert all(0 < part.stop - part.start <= 32 for part in parts)
    assert len(parts) >= 6 or count < 6 * 8


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_number_of_threads_changes_no_bit(tiny, precision):
    galaxies = random_galaxies(TINY, 150)
    engines = [open_engine("onnxruntime", tiny, threads=threads, precision=precision) for threads in (1, 2, 5)]
    first, *others = (engine.predict(*galaxies) for engine in engines)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_parts_and_threads_change_no_redshift(tiny, threads):
    galaxies = random_galaxies(TINY, 150)
    whole = open_engine("torch", tiny, threads=1).predict(*galaxies)
    engine = open_engine("onnxruntime", tiny, threads=threads)
    for _ in range(2):
        np.testing.assert_allclose(engine.predict(*galaxies), whole, rtol=0, atol=1e-5)


def test_an_empty_batch_has_no_redshifts(tiny):
    assert open_engine("onnxruntime", tiny, threads=2).predict(*random_galaxies(TINY, 0)).shape == (0,)


def test_int8_says_how_far_it_is_from_float32(tiny):
    galaxies = random_galaxies(TINY, 300)
    exact = open_engine("onnxruntime", tiny, threads=2).predict(*galaxies)
    engine = open_engine("onnxruntime", tiny, threads=2, precision="int8")
    assert (engine.precision, engine.precision_error) == ("int8", 0.0)
    reduced = engine.predict(*galaxies)
    assert 0 < engine.precision_error == pytest.approx(np.abs(reduced - exact)[:256].max(), rel=1e-2)


def test_the_error_is_measured_once(tiny, monkeypatch):
    engine = open_engine("onnxruntime", tiny, threads=1, precision="int8")
    computed = []
    monkeypatch.setattr(engine, "_run", lambda images, _, exact: computed.append(exact) or np.zeros(len(images)))
    for _ in range(3):
        engine.predict(*random_galaxies(TINY, 4))
    assert computed == [False, True, False, False]


def test_each_precision_has_a_graph_of_its_own(tiny):
    assert onnx_path(tiny) != onnx_path(tiny, "int8")
    for graph, precision in ((export_onnx(tiny), "int8"), (export_onnx(tiny, "int8"), "float32")):
        with pytest.raises(BadCheckpoint, match=f"was not exported for {precision}"):
            open_engine("onnxruntime", tiny, graph, precision=precision)


def test_a_precision_of_the_other_engine_is_refused(tiny):
    with pytest.raises(BadInput, match="precision must be one of float32, int8 with engine onnxruntime, not 'bf16'"):
        open_engine("onnxruntime", tiny, precision="bf16")


@pytest.mark.slow
def test_int8_changes_the_scatter_of_the_demo_by_less_than_two_percent():
    survey = simulate(400, seed=4321, workers=1)
    inputs = survey.images, survey.magnitudes
    engines = {precision: open_engine("onnxruntime", WEIGHTS, precision=precision) for precision in ("float32", "int8")}
    nmad = {name: photoz_metrics(engine.predict(*inputs), survey.redshifts)["nmad"] for name, engine in engines.items()}
    assert nmad["int8"] == pytest.approx(nmad["float32"], rel=0.02)
    assert 0 < engines["int8"].precision_error < 1e-3


@pytest.mark.parametrize("config", ["", "{", "[]", '{"width": 0}'])
def test_a_graph_with_a_damaged_config_is_refused(tiny, tmp_path, config):
    graph = onnx.load(export_onnx(tiny))
    onnx.helper.set_model_props(graph, {"config": config, "weights": content_hash(tiny)})
    onnx.save(graph, tmp_path / "damaged.onnx")
    with pytest.raises(BadCheckpoint, match=r"damaged\.onnx has a damaged config"):
        open_engine("onnxruntime", tiny, tmp_path / "damaged.onnx", threads=1)
