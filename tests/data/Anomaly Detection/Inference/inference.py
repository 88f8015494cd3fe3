"""A script such as those written for the replaced function: rank from the environment, the rest from payload.json.

Its model is a straight line through the magnitudes, so it is done at once; what it reads and writes is the contract's.
COSMIC_STORE may name a folder that holds the buckets; without it, or with s3://, they are on S3.
"""

import io
import json
import os
import resource
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FOLDER))

import numpy as np  # noqa: E402
from blocks.line import Line  # noqa: E402

STORE = os.environ.get("COSMIC_STORE", "s3://")
BITS_PER_SAMPLE = 164_160


def s3():
    import boto3

    return boto3.client("s3")


def get(bucket, key):
    if STORE == "s3://":
        return s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    return (Path(STORE) / bucket / key).read_bytes()


def put(bucket, key, data):
    if STORE == "s3://":
        s3().put_object(Bucket=bucket, Key=key, Body=data)
    else:
        path = Path(STORE) / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def magnitudes_of(data, key):
    if key.endswith(".safetensors"):
        from safetensors.numpy import load

        return load(data)["magnitudes"]
    import torch

    return torch.load(io.BytesIO(data), weights_only=False).tensors[1].numpy()


def main():
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    bucket = os.environ.get("BUCKET") or os.environ["S3_BUCKET"]
    payload = json.loads(get(bucket, "payload.json"))
    paths = payload["data_map"][str(rank)]
    batch_size = int(payload["batch_size"])
    print(f"rank {rank} of {world_size} reads {paths}")
    model = Line((FOLDER / "Fine_Tune_Model" / "weights.bin").read_bytes())
    parts = [
        magnitudes_of(get(payload["data_bucket"], path), path)
        for path in ([paths] if isinstance(paths, str) else paths)
    ]
    started = time.perf_counter()
    redshifts, batches = [], 0
    for magnitudes in parts:
        for start in range(0, len(magnitudes), batch_size):
            redshifts.append(model(magnitudes[start : start + batch_size]))
            batches += 1
    total = time.perf_counter() - started
    samples = len(np.concatenate(redshifts))
    record = {
        "total_cpu_time (seconds)": total,
        "total_cpu_memory (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "execution_time (seconds/batch)": total * batch_size / samples,
        "num_batches": batches,
        "batch_size": batch_size,
        "device": "cpu",
        "throughput_bps": samples * BITS_PER_SAMPLE / total,
        "sample_persec": samples / total,
        "result_path": payload["result_path"],
        "data_path": paths,
        "arguments": sys.argv[1:],
        "mean_redshift": float(np.concatenate(redshifts).mean()),
    }
    put(payload["bucket"], f"{payload['result_path']}/{rank}.json", json.dumps(record).encode())


if __name__ == "__main__":
    main()
