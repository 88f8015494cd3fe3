"""Many ranks on Lambda with every fault that there is, through the real flow, server and store."""

import io
import json
import random
import time
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest

from flows.run import run
from inference.storage.store import Store
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.invocations.stored import load_invocations
from tests.support.quick_function import Function
from tests.support.scripted_lambda import Answer, serving
from tests.support.surveys import in_bucket

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api", "plain_bucket")]
BUCKET = "cosmicai-plain"
HOUR = 3600.0


def failed(kind, message, do=None):
    body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return Answer(function_error="Unhandled", body=body, do=do)


def faults(function):
    """Each kind of fault, as the answers to a rank's first calls."""
    late = ("Sandbox.Timedout", "Task timed out after 900.00 seconds")
    dead = ("Runtime.ExitError", "RequestId: x Error: Runtime exited with error: signal: killed")
    return {
        "a storm of 429": lambda: [Answer(status=429)] * 6,
        "500 and 503": lambda: [Answer(status=500), Answer(status=503)],
        "dropped before": lambda: [Answer(drop="before")],
        "dropped after": lambda: [Answer(drop="after")],
        "late, with the work done": lambda: [failed(*late, function.work)],
        "late, with nothing done": lambda: [failed(*late)],
        "a reply cut short": lambda: [Answer(cut=30)],
        "a reply that is half": lambda: [Answer(body=b'{"rank": 3, "world', do=function.work)],
        "another rank's reply": lambda: [Answer(body=function.reply_of_another_rank, do=function.work)],
        "half a result": lambda: [failed(*dead, function.die_over_the_result)],
        "half the redshifts": lambda: [failed(*dead, function.die_over_the_redshifts)],
        "no memory": lambda: [failed("Runtime.OutOfMemory", "signal: killed")],
        "two in a row": lambda: [failed(*late, function.work), Answer(cut=30)],
        "a clock an hour off": lambda: ["skew"],
    }


def refusals(answers):
    return sum(answer.status != 200 for answer in answers if isinstance(answer, Answer))


@pytest.fixture
def burst(monkeypatch):
    """Run so many ranks of which a fifth meet faults; returns the document, the endpoint and what was scripted."""
    function = Function(BUCKET)
    with serving(function.work) as (endpoint, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        monkeypatch.setattr("tasks.executors.aws_lambda.LambdaExecutor", partial(LambdaExecutor, lost_for_s=5.0))

        def go(ranks, path):
            rng = random.Random(ranks)
            kinds = faults(function)
            struck = {
                rank: list(kinds)[number % len(kinds)]
                for number, rank in enumerate(rng.sample(range(ranks), ranks // 5))
            }
            scripted = {}
            for rank, kind in struck.items():
                answers = kinds[kind]()
                if answers == ["skew"]:
                    function.skew[rank], answers = HOUR, []
                scripted[rank] = answers
                endpoint.script(rank, *answers)
            document = run(in_bucket(BUCKET, world_size=ranks, result_path=path, hedging=False), "s3://", "lambda")
            return document, endpoint, struck, scripted

        yield go


@pytest.mark.soak
def test_run_with_a_fifth_of_500_ranks_failing_counts_each_once(burst):
    ranks = 500
    path = f"results/burst/{ranks}"
    began = time.time()
    document, endpoint, struck, scripted = burst(ranks, path)
    took = time.time() - began
    store = Store("s3://")
    assert (document["ranks_done"], document["missing_ranks"], document["failed_ranks"]) == (ranks, [], [])
    records = json.loads(store.read(BUCKET, f"{path}/combined_data.json"))
    assert [record["rank"] for record in records] == list(range(ranks))
    table = pd.read_parquet(io.BytesIO(store.read(BUCKET, f"{path}/predictions.parquet")))
    assert table["rank"].tolist() == [rank for rank in range(ranks) for _ in range(2)]
    np.testing.assert_allclose(table["z_pred"], table["rank"] / 1000, atol=1e-6)

    calls = load_invocations(store, BUCKET, path)
    refused = sum(map(refusals, scripted.values()))
    assert len(endpoint.calls) == len(calls) + refused
    assert Counter(call.rank for call in calls if call.error is None) == Counter(range(ranks))
    untouched = set(range(ranks)) - struck.keys()
    assert all(endpoint.attempts(rank) == [1] for rank in untouched)
    assert 0 < document["makespan_s"] <= took, "a worker's clock an hour off moves no rank in time"
    assert any("clock" in note for note in document["notes"])
