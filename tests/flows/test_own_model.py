"""A model of somebody's own, as docs/models.md shows it: exported, run, and read back."""

import re
import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from flows.run import run
from inference.errors import BadCheckpoint
from inference.partitions.partition import open_partition
from tests.support.surveys import request_of, snapshot
from tests.test_architecture import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The file that the page's example writes."""
    folder = tmp_path_factory.mktemp("example")
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "models.md").read_text(), re.DOTALL)
    subprocess.run([sys.executable, "-W", "ignore", "-c", example], cwd=folder, check=True)
    return folder / "photoz.onnx"


def test_the_pages_example_runs_and_its_outputs_are_columns(exported, store):
    folder = store / "cosmicai-test" / "survey"
    document = run(request_of(model=str(exported), world_size=2), str(store), workers=1)
    assert document["ranks_done"] == 2
    rows = pd.read_parquet(store / "cosmicai-test/results/test/predictions.parquet")
    session = onnxruntime.InferenceSession(exported)
    for number in (1, 2):
        partition = open_partition(folder / f"{number}.pt", "a partition")
        given = {"image": np.asarray(partition.images), "magnitudes": np.asarray(partition.magnitudes, np.float32)}
        redshift, sigma, embedding = session.run(None, given)
        mine = rows[rows["file"] == f"survey/{number}.pt"].sort_values("index")
        np.testing.assert_allclose(mine["z_pred"], redshift, atol=1e-4)
        np.testing.assert_allclose(mine["z_err"], sigma, rtol=1e-3)
        np.testing.assert_allclose(np.stack(mine["embedding"]), embedding, atol=1e-3)


def test_a_model_that_does_not_fit_is_refused_before_anything_is_written(exported, store, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:-50])
    before = snapshot(store)
    with pytest.raises(BadCheckpoint, match="is no ONNX model, or it is damaged"):
        run(request_of(model=str(damaged), world_size=1), str(store), workers=1)
    assert snapshot(store) == before
