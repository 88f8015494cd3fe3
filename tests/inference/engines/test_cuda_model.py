"""AstroMAE's steps for a GPU give what the plain model gives."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from inference.engines.load import open_engine
from inference.model.checkpoint import save
from inference.model.config import SMALL, AstroMAEConfig
from tests.support.models import DEPLOYED, KINDS, QUANTILES, random_galaxies, random_model

CONFIGS = KINDS | {"quantiles": QUANTILES, "small": SMALL, "deployed": DEPLOYED, "published": AstroMAEConfig()}

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device on this machine")
has_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="this build of torch comes without Triton"
)

# Triton's interpreter computes wrongly in bf16 (3.9), so these are in half precision, which has three bits more.
_INTERPRETED = """
import torch
from inference.engines import cuda_kernels
from tests.support.models import CONVOLVED, KINDS, QUANTILES, random_galaxies, random_model

cuda_kernels.DTYPE = torch.float16
from inference.engines.cuda_model import Steps

for config in (QUANTILES, KINDS["other sizes"], KINDS["convolved, no class token"]):
    model = random_model(config)
    images, magnitudes = (torch.tensor(array).float() for array in random_galaxies(config, 3))
    with torch.inference_mode():
        difference = (Steps(model)(images, magnitudes) - model(images, magnitudes)).abs().max().item()
    assert difference < 2e-4, (config, difference)
"""


@has_triton
def test_cuda_model_steps_in_the_interpreter_give_the_plain_model():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", _INTERPRETED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@cuda
@has_triton
class TestOnAGpu:
    @pytest.mark.parametrize("kind", CONFIGS)
    def test_cuda_model_is_as_near_to_float32_as_autocast(self, kind):
        config = CONFIGS[kind]
        model = random_model(config).cuda()
        images, magnitudes = _on_device(*random_galaxies(config, 100))
        with torch.inference_mode():
            exact = model(images, magnitudes)
            with torch.autocast("cuda", torch.bfloat16):
                autocast = (model(images, magnitudes).float() - exact).abs().mean().item()
            found = _cuda_model(model, 128)(images, magnitudes)
        assert found.shape == exact.shape
        assert found.dtype == torch.float32
        assert (found - exact).abs().mean().item() <= 2 * autocast + 1e-4

    def test_cuda_model_replayed_gives_each_batch_its_own_redshifts(self):
        model = random_model(SMALL).cuda()
        images, magnitudes = _on_device(*random_galaxies(SMALL, 256))
        with torch.inference_mode():
            computed = _cuda_model(model, 256)
            whole = computed(images, magnitudes)
            parts = [
                computed(images[start : start + 65], magnitudes[start : start + 65]) for start in range(0, 256, 65)
            ]
            alone = computed(images[7:8], magnitudes[7:8])
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-3)
        torch.testing.assert_close(alone, whole[7:8], rtol=0, atol=1e-3)
        assert whole.std() > 0

    @pytest.mark.parametrize("count", [1, 4095, 4097])
    def test_engine_in_bf16_gives_redshifts_near_float32(self, tmp_path, count):
        save(tmp_path / "small.safetensors", random_model(SMALL))
        galaxies = random_galaxies(SMALL, count)
        exact = open_engine("torch", tmp_path / "small.safetensors").predict(*galaxies)
        engine = open_engine("torch", tmp_path / "small.safetensors", precision="bf16")
        np.testing.assert_allclose(engine.predict(*galaxies), exact, rtol=0, atol=0.05)
        assert 0 < engine.precision_error < 0.05

    def test_engine_without_triton_says_so_and_computes_with_torch(self, tmp_path, monkeypatch):
        save(tmp_path / "small.safetensors", random_model(SMALL))
        monkeypatch.setitem(sys.modules, "inference.engines.cuda_model", None)
        with pytest.warns(UserWarning, match="bf16 runs by torch's own kernels"):
            engine = open_engine("torch", tmp_path / "small.safetensors", precision="bf16")
        assert np.isfinite(engine.predict(*random_galaxies(SMALL, 9))).all()


def _cuda_model(model, most):
    from inference.engines.cuda_model import CudaModel

    return CudaModel(model, most)


def _on_device(*arrays):
    return [torch.tensor(array).float().cuda() for array in arrays]
