"""A deployment or a removal that is killed and given again ends as one that nothing disturbed."""

import subprocess
import time
import uuid

import pytest

from tasks.aws.session import client
from tests.support.run_harness import COSMIC, kill_midway

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900), pytest.mark.usefixtures("aws")]

SEEDS = 10


def command(*words):
    return subprocess.Popen([COSMIC, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def resources(stack):
    """What there is by this name: functions, state machines, buckets."""
    functions = client("lambda").get_paginator("list_functions").paginate()
    names = [each["FunctionName"] for page in functions for each in page["Functions"]]
    names += [each["name"] for each in client("stepfunctions").list_state_machines()["stateMachines"]]
    names += [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    return sorted(name for name in names if stack in name)


_took = {}


def killed_and_given_again(seed, *words):
    """Kill a command at some moment, once it is known how long it takes, and give it again; what that said."""
    if words[0] in _took:
        process = command(*words)
        kill_midway(process, _took[words[0]], f"{words[0]} {seed}")
        process.communicate()
    began = time.monotonic()
    again = command(*words)
    said, _ = again.communicate(timeout=280)
    _took.setdefault(words[0], time.monotonic() - began)
    return again.returncode, said


@pytest.mark.parametrize("seed", range(SEEDS))
def test_ends_as_an_undisturbed_one(seed):
    stack = f"killed-{uuid.uuid4().hex[:8]}"
    code, said = killed_and_given_again(seed, "deploy", "--bucket", f"{stack}-data", "--stack-name", stack)
    assert (code, len(resources(stack))) == (0, 5), said  # three functions, a state machine, a bucket
    code, said = killed_and_given_again(seed, "destroy", "--stack-name", stack, "--with-data", "--yes")
    assert code == 0 or f"there is no stack {stack}" in said, said  # where the killed one had ended
    assert resources(stack) == []
