"""The replaced system's state machine with our functions, our machine with theirs, and functions of both mixed."""

import json
import re
import time
import uuid

import pytest

from inference.storage.store import Store
from tasks.aws.buckets import make_bucket
from tasks.aws.executions_table import executions_table
from tasks.aws.session import client
from tests.support.staged_scripts import ENTRY, NAME, put_folder
from tests.support.surveys import SIZES
from tests.support.their_functions import EXECUTE, INITIALIZE, SUMMARIZE, put_function, their_machine

pytestmark = pytest.mark.slow
BUCKET = "cosmicai-test"
OURS = ("data-parallel-init", "cosmic-executor", "resultSummary")


@pytest.fixture
def ours(stack):
    """ARNs of the stack's functions, by name."""
    put_folder(Store("s3://"))
    return {name: client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"] for name in OURS}


@pytest.fixture
def theirs(stack):
    functions = client("lambda")
    sources = {"data-parallel-init": INITIALIZE, "cosmic-executor": EXECUTE, "resultSummary": SUMMARIZE}
    return {name: put_function(functions, source) for name, source in sources.items()}


def request(result_path, **more):
    """The input as contract, "Run request", has it."""
    return {
        "bucket": BUCKET,
        "file_limit": "2",
        "batch_size": 512,
        "object_type": "folder",
        "S3_object_name": NAME,
        "script": ENTRY,
        "result_path": result_path,
        "data_bucket": BUCKET,
        "data_prefix": "survey",
    } | more


def ended_execution(machine, result_path, **more):
    states = client("stepfunctions")
    document = json.dumps(request(result_path, **more))
    arn = states.start_execution(stateMachineArn=machine, input=document)["executionArn"]
    until = time.monotonic() + 120
    while (ended := states.describe_execution(executionArn=arn))["status"] == "RUNNING" and time.monotonic() < until:
        time.sleep(0.1)
    return ended


def executed(machine, result_path, **more):
    ended = ended_execution(machine, result_path, **more)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    return json.loads(ended["output"])


def combined(result_path):
    return json.loads(Store("s3://").read(BUCKET, f"{result_path}/combined_data.json"))


@pytest.mark.parametrize("inline", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_their_machine_runs_with_our_functions(ours, inline):
    path = f"results/theirs/{inline}"
    machine = their_machine(client("stepfunctions"), *ours.values(), inline=inline)
    answered = executed(machine, path, **({"items": "inline"} if inline else {}))
    assert answered["statusCode"] == 200
    assert json.loads(answered["body"]) == f"Combined data uploaded to {path}/combined_data.json"
    assert [record["samples"] for record in combined(path)] == list(SIZES[:2])
    (row,) = executions_table(client("stepfunctions"), machine).rows
    assert (row["result_path"], row["partition (MB)"], row["status"]) == (path, "survey", "SUCCEEDED")
    assert row["total_duration (s)"] > 0


@pytest.mark.parametrize(
    "replaced",
    [pytest.param(("data-parallel-init",), marks=pytest.mark.soak), ("data-parallel-init", "cosmic-executor")],
)
def test_their_machine_runs_with_functions_of_both(ours, theirs, replaced):
    """Their functions plan, and ours run or summarize what they planned."""
    path = f"results/mixed/{len(replaced)}"
    functions = {name: (theirs if name in replaced else ours)[name] for name in OURS}
    machine = their_machine(client("stepfunctions"), *functions.values())
    assert executed(machine, path)["ranks_done"] == 2
    assert len(combined(path)) == 2
    assert {"total_cpu_time (seconds)", "sample_persec", "data_path"} <= combined(path)[0].keys()


def test_our_machine_runs_with_their_functions(stack, ours, theirs):
    states = client("stepfunctions")
    definition = states.describe_state_machine(stateMachineArn=stack["StateMachineArn"])["definition"]
    for name, arn in ours.items():
        definition = definition.replace(arn, theirs[name])
    definition = re.sub(r'"MaxConcurrencyPath": "[^"]*"', '"MaxConcurrency": 40', definition)  # --map-concurrency 40
    name = f"ours-{uuid.uuid4().hex[:8]}"
    role = "arn:aws:iam::000000000000:role/cosmic-tests"
    machine = states.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]
    answered = executed(machine, "results/ours-theirs")
    assert answered["statusCode"] == 200
    assert len(combined("results/ours-theirs")) == 2


def test_their_machine_that_failed_can_be_started_again_in_a_minute(ours):
    """Its failed map calls no summary: the failed rank ends what the execution holds."""
    bucket, store = "cosmicai-failed", Store("s3://")
    make_bucket(bucket)
    store.write(bucket, "broken/run.py", b"import os, sys; sys.exit(int(os.environ['RANK']))")
    broken = {"bucket": bucket, "S3_object_name": "broken", "script": "/tmp/broken/run.py"}
    machine = their_machine(client("stepfunctions"), *ours.values())
    assert ended_execution(machine, "results/one", **broken)["status"] == "FAILED"
    again = ended_execution(machine, "results/two", **broken)
    left = re.search(r"root of bucket cosmicai-failed is held by .*, for (\d+) s more", again["cause"])
    assert left is not None and int(left[1]) <= 65  # a minute; S3 dates objects by whole seconds


def test_ranks_without_a_partition_are_answered_and_missed_by_nobody(ours):
    """An older version of their first function left ranks idle; ours runs and summarizes such a plan."""
    idle = INITIALIZE.replace("files[rank % len(files)]", "(files + [None] * ranks)[rank]")
    functions = ours | {"data-parallel-init": put_function(client("lambda"), idle)}
    machine = their_machine(client("stepfunctions"), *functions.values())
    answered = executed(machine, "results/idle", world_size=3, file_limit="1")
    assert (answered["ranks_planned"], answered["missing_ranks"]) == (1, [])
    assert [record["samples"] for record in combined("results/idle")] == [SIZES[0]]
