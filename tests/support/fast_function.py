"""A function that publishes a rank's redshifts and result as fast as it can, and computes nothing."""

import dataclasses
import json
import os
import time

import numpy as np

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.rank_results.predictions import Predictions
from inference.storage.store import Store

STORE = Store("s3://")


def handler(event, context):
    rank = RankEvent.from_wire(event)
    predictions = Predictions()
    for path in rank.data_paths:
        predictions.add(path, 0, np.full(3, 0.1, np.float32), np.full(3, 0.1))
    key = f"{rank.result_path}/predictions/{rank.rank}.{rank.attempt}-fast.safetensors"
    STORE.write(rank.result_bucket, key, predictions.encode(rank))
    fields = dataclasses.fields(RankResult)
    zeros = {field.name: 0 for field in fields if field.type in (float, int) and field.default is dataclasses.MISSING}
    now = time.time()
    result = RankResult(
        **zeros
        | {"rank": rank.rank, "world_size": rank.world_size, "attempt": rank.attempt, "samples": 3, "num_batches": 1}
        | {"batch_size": rank.batch_size, "started_at": now, "ended_at": now, "wall_loop_s": 1e-6}
        | {"data_path": rank.data_paths[0], "result_path": rank.result_path, "predictions_path": key},
        fingerprint=rank.fingerprint,
        device="none",
        engine=rank.engine,
        precision=rank.precision,
        model_sha256=rank.model_sha256,
        cold=False,
        request_id=context.aws_request_id,
        worker="fast",
    )
    STORE.create(rank.result_bucket, f"{rank.result_path}/{rank.rank}.json", json.dumps(result.to_wire()).encode())
    return result.to_wire()


def slow(event, context):
    """Record the call, and take 70 s."""
    STORE.write("cosmicai-test", f"executions/{context.aws_request_id}", b"")
    time.sleep(70)
    return handler(event, context)


def leaking(event, context):
    """Fail with the environment in the message, as careless code does, and with terminal control characters."""
    secret = {"AWS_SECRET_ACCESS_KEY": "canary-of-the-function"}  # first, because a long message is cut at its end
    raise RuntimeError(f"\x1b[2J <script> {secret | os.environ | secret}")


def noted(event, context):
    """Record the call and its rank, and take a third of a second longer."""
    key = f"called/{event['RESULT_PATH']}/{event['RANK']}-{context.aws_request_id}"
    STORE.write("cosmicai-test", key, b"")
    time.sleep(0.3)
    return handler(event, context)
