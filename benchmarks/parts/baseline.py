"""The function that this project replaces, as the contract describes it: what every speed is a ratio to.

`python -m benchmarks.parts.baseline WEIGHTS.pt PARTITION.pt` is one rank of it: a new interpreter, torch imported, a
whole pickled module and a whole pickled partition, eager torch under a profiler that follows memory too, and a garbage
collection after every batch. It says when its first redshifts are there. Both files are unpickled without restriction,
as they were there, so `write` makes them in a scratch folder, and nothing else is to be read with it.
"""

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BATCH = 512


def write(folder: Path, model: Any, images: Any, magnitudes: Any, redshifts: Any) -> tuple[Path, Path]:
    """Pickle a model and a partition, as `torch.save` does: the two files of a rank."""
    import torch
    from torch.utils.data import TensorDataset

    weights, partition = folder / "baseline-weights.pt", folder / "baseline-partition.pt"
    torch.save(model, weights)
    torch.save(TensorDataset(*(torch.from_numpy(array) for array in (images, magnitudes, redshifts))), partition)
    return weights, partition


def load(path: Path) -> Any:
    """Unpickle one of the two files, whole."""
    import torch

    return torch.load(path, weights_only=False)


def batches(model: Any, dataset: Any) -> Iterator[Any]:
    """Redshifts of a partition, a batch after the other, as tensors."""
    import torch
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.data import DataLoader

    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True):
        for images, magnitudes, _ in DataLoader(dataset, batch_size=BATCH):
            yield model(images, magnitudes)[:, 0]
            gc.collect()


def predict(model: Any, dataset: Any) -> Any:
    """Redshifts of a partition, (samples,), as an array."""
    import torch

    return torch.cat(list(batches(model, dataset))).numpy()


def main() -> None:
    """Run one rank; say when the first redshifts are there, and how many there were at the end."""
    weights, partition = map(Path, sys.argv[1:3])
    model, dataset = load(weights).eval(), load(partition)
    samples = 0
    for redshifts in batches(model, dataset):
        if not samples:
            print(json.dumps({"first": len(redshifts)}), flush=True)
        samples += len(redshifts)
    print(json.dumps({"samples": samples}))


if __name__ == "__main__":
    main()
