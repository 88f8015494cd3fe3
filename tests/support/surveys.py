"""Small surveys of random numbers, for tests that look at the machinery and not at the redshifts."""

import json
import shutil

import numpy as np

from inference.partitions.partition import write_partition

SIZES = (40, 30, 40, 25)


def random_survey(samples, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(samples, 5, 32, 32)).astype(np.float32),
        rng.uniform(15, 22, (samples, 5)),
        rng.uniform(0.01, 0.5, samples),
    )


def write_survey(folder, sizes=SIZES, suffix=".pt"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(sizes, 1):
        write_partition(folder / f"{number}{suffix}", *random_survey(size, seed=number))


def write_store(root, weights):
    """A bucket with a survey of four partitions, and the weights with their exported graph."""
    write_survey(root / "cosmicai-test" / "survey")
    shutil.copytree(weights.parent, root / "cosmicai-test" / "models")


def request_of(**changes):
    return {
        "bucket": "cosmicai-test",
        "file_limit": 10,
        "batch_size": 16,
        "result_path": "results/test",
        "data_bucket": "cosmicai-test",
        "data_prefix": "survey",
        "model": "models/tiny.safetensors",
    } | changes


def in_bucket(bucket, **changes):
    return request_of(bucket=bucket, data_bucket=bucket, **changes)


def snapshot(root):
    """Every file under `root` with its content's time and size."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in root.rglob("*")
        if path.is_file()
    }


def read_json(path):
    return json.loads(path.read_text())
