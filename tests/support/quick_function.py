"""A rank's function behind a scripted Lambda endpoint: it computes nothing, and publishes as the handler does."""

import dataclasses
import json
import time
import uuid

import numpy as np

from inference.contract.rank_event import RankEvent
from inference.rank_results.predictions import Predictions
from inference.rank_results.publish_rank import publish_rank_result
from inference.storage.store import Store
from tests.support.wire_examples import RESULT


class Function:
    """The function behind the scripted endpoint: its redshifts encode the rank, published as the handler does."""

    def __init__(self, bucket, takes_s=0.0):
        self.bucket, self.takes_s = bucket, takes_s
        self.store = Store("s3://")
        self.skew = {}

    def result(self, event, request_id=""):
        rank = RankEvent.from_wire(event)
        now = time.time() + self.skew.get(rank.rank, 0.0)
        return rank, dataclasses.replace(
            RESULT,
            rank=rank.rank,
            world_size=rank.world_size,
            attempt=rank.attempt,
            fingerprint=rank.fingerprint,
            data_path=rank.data_paths[0],
            result_path=rank.result_path,
            predictions_path=f"{rank.result_path}/predictions/{rank.rank}.{uuid.uuid4().hex}.safetensors",
            samples=2,
            started_at=now - 0.01,
            ended_at=now,
            wall_total_s=0.01,
            request_id=request_id,
            cold=False,
        )

    def redshifts(self, rank):
        predictions = Predictions()
        predictions.add(rank.data_paths[0], 0, np.full(2, rank.rank / 1000, np.float32), np.full(2, 0.1))
        return predictions.encode(rank)

    def work(self, event, request_id=""):
        time.sleep(self.takes_s)
        rank, result = self.result(event, request_id)
        self.store.write(self.bucket, result.predictions_path, self.redshifts(rank))
        return publish_rank_result(self.store, rank, result).to_wire()

    def die_over_the_redshifts(self, event):
        rank, result = self.result(event)
        self.store.write(self.bucket, result.predictions_path, self.redshifts(rank)[:40])

    def die_over_the_result(self, event):
        rank, result = self.result(event)
        self.store.write(self.bucket, result.predictions_path, self.redshifts(rank))
        half = json.dumps(result.to_wire()).encode()[:-200]
        self.store.write(self.bucket, f"{rank.result_path}/{rank.rank}.json", half)

    def reply_of_another_rank(self, event):
        other = (int(event["RANK"]) + 1) % int(event["WORLD_SIZE"])
        return json.dumps(self.result(event | {"RANK": str(other)})[1].to_wire()).encode()
