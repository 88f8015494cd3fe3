import dataclasses
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from inference.contract.run_request import ENGINES
from inference.engines.load import open_engine
from inference.errors import BadCheckpoint, BadInput
from inference.model.checkpoint import export_onnx, save
from inference.model.config import SMALL, AstroMAEConfig
from tests.support.models import DEPLOYED, TINY, random_galaxies, random_model

CONFIGS = {"published": AstroMAEConfig(), "small": SMALL, "deployed": DEPLOYED}


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random weights of each of CONFIGS and of TINY, by name."""
    folder = tmp_path_factory.mktemp("engines")
    paths = {}
    for name, config in CONFIGS.items() | {"tiny": TINY}.items():
        paths[name] = folder / f"{name}.safetensors"
        save(paths[name], random_model(config))
    return paths


@pytest.fixture(scope="session")
def graphs(weights):
    """The graph of each of CONFIGS, exported when it is first asked for."""

    class Graphs(dict):
        def __missing__(self, name):
            self[name] = export_onnx(weights[name])
            return self[name]

    return Graphs()


@pytest.fixture(scope="session")
def engines(weights, graphs):
    """Both engines of each of CONFIGS, opened when they are first asked for."""

    class Engines(dict):
        def __missing__(self, name):
            self[name] = [open_engine(engine, weights[name], graphs[name], threads=2) for engine in ENGINES]
            return self[name]

    return Engines()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_engines_agree(engines, name, batch):
    onnx, torch = engines[name]
    galaxies = random_galaxies(CONFIGS[name], batch, seed=batch)
    redshifts = onnx.predict(*galaxies)
    np.testing.assert_allclose(redshifts, torch.predict(*galaxies), rtol=0, atol=1e-5)
    assert redshifts.shape == (batch,)
    assert redshifts.dtype == np.float32
    assert batch == 1 or redshifts.std() > 1e-3  # agreement on a constant would show nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_a_last_partial_batch_gives_what_one_large_batch_gives(engines, name):
    images, magnitudes = random_galaxies(CONFIGS[name], 37)
    whole = engines[name][1].predict(images, magnitudes)
    for engine in engines[name]:
        parts = [engine.predict(images[i : i + 16], magnitudes[i : i + 16]) for i in range(0, 37, 16)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_an_engine_says_what_it_is(engines):
    for engine, name in zip(engines["small"], ENGINES, strict=True):
        assert (engine.name, engine.precision, engine.config) == (name, "float32", SMALL)
    assert engines["small"][0].device == "cpu"


@pytest.mark.slow
def test_without_a_graph_the_onnxruntime_engine_exports_one(weights, graphs):
    graph = graphs["small"]
    assert open_engine("onnxruntime", weights["small"], threads=1).config == SMALL
    assert graph.exists()


@pytest.mark.slow
def test_with_a_graph_the_onnxruntime_engine_never_imports_torch(weights, graphs):
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        import numpy as np
        from inference.engines.load import open_engine
        weights, graph = map(Path, sys.argv[1:])
        engine = open_engine("onnxruntime", weights, graph, threads=1)
        engine.predict(np.zeros((2, 5, 32, 32), np.float32), np.zeros((2, 5)))
        open_engine("onnxruntime", weights, threads=1)
        sys.exit("torch" in sys.modules)
    """)
    command = [sys.executable, "-c", code, weights["small"], graphs["small"]]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.slow
def test_the_graph_of_another_model_is_refused(weights, graphs, tmp_path):
    other = tmp_path / "other.safetensors"
    save(other, random_model(dataclasses.replace(TINY, image_size=16)))
    with pytest.raises(BadCheckpoint, match="is not the graph of the weights"):
        open_engine("onnxruntime", other, graphs["small"])


def test_importing_engines_imports_neither():
    code = "import sys, inference.engines.load; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_engine_is_refused(weights):
    with pytest.raises(BadInput, match="engine must be one of onnxruntime, torch, not 'jax'"):
        open_engine("jax", weights["tiny"])


def test_a_negative_number_of_threads_is_refused(weights):
    with pytest.raises(BadInput, match="threads must be 0, for all cores, or more, not -1"):
        open_engine("torch", weights["tiny"], threads=-1)


@pytest.mark.parametrize("content", [None, b"", b"no graph at all"])
def test_a_broken_graph_is_refused_by_name(weights, tmp_path, content):
    graph = tmp_path / "broken.onnx"
    if content is not None:
        graph.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"broken.onnx") as caught:
        open_engine("onnxruntime", weights["tiny"], graph)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ENGINES)
def test_broken_weights_are_refused_by_name(tmp_path, name):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no weights at all")
    with pytest.raises(BadCheckpoint, match=r"broken.safetensors"):
        open_engine(name, path)


@pytest.mark.parametrize(
    ("images", "magnitudes", "said"),
    [
        (np.zeros((2, 5, 32, 32)), np.zeros((2, 5)), "images must be float32 .B, 5, 32, 32., not float64"),
        (np.zeros((2, 5, 32, 31), np.float32), np.zeros((2, 5)), "images must be float32"),
        (np.zeros((5, 32, 32), np.float32), np.zeros((1, 5)), "images must be float32"),
        (
            np.zeros((2, 5, 32, 32), np.float32),
            np.zeros((3, 5)),
            "magnitudes must be .*, not float64 .3, 5.",
        ),
        (np.zeros((2, 5, 32, 32), np.float32), np.zeros(5), "magnitudes must be floating"),
        (np.zeros((2, 5, 32, 32), np.float32), np.zeros((2, 5), int), "magnitudes must be floating .2, 5., not int64"),
    ],
)
def test_inputs_that_do_not_fit_the_config_are_refused(weights, images, magnitudes, said):
    with pytest.raises(BadInput, match=said):
        open_engine("torch", weights["tiny"], threads=1).predict(images, magnitudes)


@pytest.mark.filterwarnings("error")
def test_read_only_and_strided_views_of_a_partition_are_taken_in_silence(weights):
    engine = open_engine("torch", weights["tiny"], threads=1)
    images, magnitudes = random_galaxies(TINY, 6)
    expected = engine.predict(images[::2].copy(), magnitudes[::2].copy())
    images.flags.writeable = magnitudes.flags.writeable = False
    np.testing.assert_array_equal(engine.predict(images[::2], magnitudes[::2]), expected)
    np.testing.assert_array_equal(engine.predict(images[::2], magnitudes[::2].astype(np.float32)), expected)
