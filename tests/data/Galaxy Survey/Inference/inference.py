"""A script in the replaced system's manner: its folder's place and its bucket are written into it; it knows S3 alone.

Rank and world size come from the environment, everything else from payload.json. What it fetches has fixed names at
/tmp, as if no rank were beside it. The result goes to the data bucket.
"""

import argparse
import json
import os
import sys
import time

import boto3
import torch

sys.path.append("/tmp/Galaxy Survey")
BUCKET = "cosmicai-original"
WEIGHTS = "Fine_Tune_Model/offset.bin"
BITS_PER_SAMPLE = 164_160


def main(args):
    s3 = boto3.resource("s3")
    rank = int(os.environ["RANK"])
    s3.Bucket(BUCKET).download_file("payload.json", "/tmp/payload.json")
    with open("/tmp/payload.json") as file:
        config = json.load(file)
    key = config["data_map"][str(rank)]
    s3.Bucket(config["data_bucket"]).download_file(key, "/tmp/data.pt")
    time.sleep(0.3)  # time for another rank to do the same
    os.chdir("/tmp/Galaxy Survey")
    with open(WEIGHTS, "rb") as file:
        offset = int.from_bytes(file.read(), "little")
    data = torch.load("/tmp/data.pt", weights_only=False)
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
    os.makedirs("/tmp/results", exist_ok=True)
    with open("/tmp/results/result.json", "w") as file:
        json.dump([record], file)
    result = f"{config['result_path']}/{rank}.json"
    s3.Bucket(config["data_bucket"]).upload_file("/tmp/results/result.json", result)
    sys.exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    main(parser.parse_args())
