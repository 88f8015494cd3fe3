"""A script in the replaced system's manner: its folder's place and its bucket are written into it; it knows S3 alone.

Rank and world size come from the environment, everything else from payload.json; the result goes to the data bucket.
"""

import argparse
import io
import json
import os
import sys
import time

import boto3
import torch

sys.path.append("/tmp/Galaxy Survey")
BUCKET = "cosmicai-original"
WEIGHTS = "/tmp/Galaxy Survey/Fine_Tune_Model/offset.bin"
BITS_PER_SAMPLE = 164_160


def main(args):
    s3 = boto3.client("s3")
    rank = int(os.environ["RANK"])
    config = json.loads(s3.get_object(Bucket=BUCKET, Key="payload.json")["Body"].read())
    key = config["data_map"][str(rank)]
    with open(WEIGHTS, "rb") as file:  # noqa: PTH123 - as people write it
        offset = int.from_bytes(file.read(), "little")
    data = torch.load(
        io.BytesIO(s3.get_object(Bucket=config["data_bucket"], Key=key)["Body"].read()), weights_only=False
    )
    started = time.perf_counter()
    samples = 0
    for images, magnitudes, _ in torch.utils.data.DataLoader(data, batch_size=int(config["batch_size"])):
        samples += len(images)
        redshifts = magnitudes.mean(dim=1) / 100 + offset
    seconds = time.perf_counter() - started
    record = {
        "total_cpu_time (seconds)": seconds,
        "total_cpu_memory (MB)": 100.0,
        "execution_time (seconds/batch)": seconds * int(config["batch_size"]) / samples,
        "num_batches": -(-samples // int(config["batch_size"])),
        "batch_size": config["batch_size"],
        "device": args.device,
        "throughput_bps": samples * BITS_PER_SAMPLE / seconds,
        "sample_persec": samples / seconds,
        "result_path": config["result_path"],
        "data_path": key,
        "last_redshift": float(redshifts[-1]),
        "world_size": int(os.environ["WORLD_SIZE"]),
    }
    result = f"{config['result_path']}/{rank}.json"
    s3.put_object(Bucket=config["data_bucket"], Key=result, Body=json.dumps(record), ContentType="application/json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    main(parser.parse_args())
