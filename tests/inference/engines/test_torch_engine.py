import numpy as np
import pytest
import torch

from inference.engines import torch_engine
from inference.engines.load import open_engine
from inference.errors import BadInput
from inference.model.checkpoint import save
from inference.model.config import SMALL
from tasks.photoz.metrics import photoz_metrics
from tasks.simulation.survey import simulate
from tasks.training.demo_weights import WEIGHTS
from tests.support.models import TINY, random_galaxies, random_model

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device on this machine")
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, random_model(TINY))
    return path


@pytest.fixture(scope="module")
def survey():
    return simulate(200, seed=4321, workers=1)


def test_reduced_precision_says_how_far_it_is_from_float32(tiny):
    galaxies = random_galaxies(TINY, 40)
    exact = open_engine("torch", tiny, threads=1)
    reduced = open_engine("torch", tiny, threads=1, precision="bf16")
    assert (reduced.precision, reduced.precision_error, exact.precision_error) == ("bf16", 0.0, 0.0)
    whole, short = exact.predict(*galaxies), reduced.predict(*galaxies)
    assert short.dtype == np.float32
    assert reduced.precision_error == pytest.approx(np.abs(short - whole).max(), rel=1e-6)
    assert 0 < reduced.precision_error < 0.05 * np.abs(whole).max() + 0.05


def test_the_error_is_that_of_the_first_batch_and_is_measured_once(tiny, monkeypatch):
    reduced = open_engine("torch", tiny, threads=1, precision="bf16")
    computed = []
    monkeypatch.setattr(
        reduced, "_predict", lambda images, magnitudes, how: computed.append(how) or np.zeros(len(images))
    )
    for _ in range(3):
        reduced.predict(*random_galaxies(TINY, 4))
    assert computed == ["bf16", "float32", "bf16", "bf16"]


@pytest.mark.slow
def test_bf16_changes_the_scatter_of_trained_weights_by_little(survey):
    inputs = survey.images, survey.magnitudes
    engines = {precision: open_engine("torch", WEIGHTS, precision=precision) for precision in ("float32", "bf16")}
    nmad = {name: photoz_metrics(engine.predict(*inputs), survey.redshifts)["nmad"] for name, engine in engines.items()}
    assert nmad["bf16"] == pytest.approx(nmad["float32"], rel=0.05)
    assert 0 < engines["bf16"].precision_error < 0.01


def test_what_no_engine_can_do_is_refused(tiny):
    with pytest.raises(BadInput, match="precision must be one of float32, tf32, bf16 with engine torch, not 'int8'"):
        open_engine("torch", tiny, precision="int8")


@no_cuda
def test_tf32_without_a_gpu_is_refused(tiny):
    with pytest.raises(BadInput, match="precision tf32 needs a CUDA device, and torch finds none here"):
        open_engine("torch", tiny, precision="tf32")


@cuda
class TestOnAGpu:
    @pytest.mark.parametrize("count", [1, 7, 8, 9, 40])
    def test_parts_that_overlap_give_what_the_cpu_gives(self, tmp_path, monkeypatch, count):
        save(tmp_path / "small.safetensors", random_model(SMALL))
        monkeypatch.setattr(torch_engine, "_PART", 8)
        engine = open_engine("torch", tmp_path / "small.safetensors")
        images, magnitudes = random_galaxies(SMALL, count)
        with torch.inference_mode():
            model = random_model(SMALL).eval()
            expected = model(torch.from_numpy(images), torch.from_numpy(magnitudes).float())[:, 0].numpy()
        for _ in range(3):  # the buffers are used again
            np.testing.assert_allclose(engine.predict(images, magnitudes), expected, rtol=0, atol=1e-5)
        assert engine.device == "cuda"

    @pytest.mark.parametrize("precision", ["tf32", "bf16"])
    def test_reduced_precisions_report_their_error(self, survey, precision):
        engine = open_engine("torch", WEIGHTS, precision=precision)
        metrics = photoz_metrics(engine.predict(survey.images, survey.magnitudes), survey.redshifts)
        exact = photoz_metrics(
            open_engine("torch", WEIGHTS).predict(survey.images, survey.magnitudes), survey.redshifts
        )
        assert 0 < engine.precision_error < 0.02
        assert metrics["nmad"] == pytest.approx(exact["nmad"], rel=0.3)
