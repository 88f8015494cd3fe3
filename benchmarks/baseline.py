"""The function that this project replaces, as the contract describes it: what every speed is a ratio to.

`python -m benchmarks.baseline WEIGHTS.pt PARTITION.pt` is one rank of it: a new interpreter, torch imported, a whole
pickled module and a whole pickled partition, eager torch under a profiler that follows memory too, and a garbage
collection after every batch. It prints its times as JSON. Both files are unpickled without restriction, as they were
there, so `write` makes them in a scratch folder, and nothing else is to be read with it.
"""

import gc
import json
import sys
import time
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


def predict(model: Any, dataset: Any, *, first_only: bool = False) -> Any:
    """Redshifts of a partition, (samples,) as a tensor; of its first batch only, where wanted."""
    import torch
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.data import DataLoader

    redshifts = []
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True):
        for images, magnitudes, _ in DataLoader(dataset, batch_size=BATCH):
            redshifts.append(model(images, magnitudes)[:, 0])
            gc.collect()
            if first_only:
                break
    return torch.cat(redshifts)


def main() -> None:
    """Run one rank."""
    started = time.time()
    weights, partition = map(Path, sys.argv[1:3])
    model, dataset = load(weights).eval(), load(partition)
    loaded = time.time()
    redshifts = predict(model, dataset, first_only="--first" in sys.argv[3:])
    times = {"loaded_s": loaded - started, "inference_s": time.time() - loaded, "samples": len(redshifts)}
    print(json.dumps(times))


if __name__ == "__main__":
    main()
