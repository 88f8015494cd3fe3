"""The functions' roles suffice for a run, and for no more: the emulator enforces them here."""

import json
import time
import uuid

import pytest

from inference.errors import StoreError
from inference.store import Store
from tasks.aws import client
from tasks.deploy import install, make_bucket
from tasks.emulator import emulated
from tests.conftest import point_at
from tests.surveys import request_of, write_survey

pytestmark = pytest.mark.slow
BUCKET, DATA, FOREIGN = "cosmicai-test", "cosmicai-data", "cosmicai-foreign"


@pytest.fixture(scope="module")
def enforcing(tiny_weights, tmp_path_factory):
    """The state machine's ARN on an emulator that refuses what a function's role does not allow."""
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH", "true")
        with emulated() as endpoint:
            point_at(endpoint, patch)
            store = Store("s3://")
            for bucket in (BUCKET, DATA, FOREIGN):
                make_bucket(bucket)
            for bucket in (DATA, FOREIGN):
                for path in folder.iterdir():
                    store.write(bucket, f"survey/{path.name}", path)
            for path in tiny_weights.parent.iterdir():
                store.write(BUCKET, f"models/{path.name}", path)
            yield install("cosmic-flows", BUCKET, {"DataBucketName": DATA}).outputs["StateMachineArn"]


def executed(machine, **changes):
    states = client("stepfunctions")
    given = json.dumps(request_of(**changes))
    arn = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
    while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.1)
    return execution


def test_a_run_from_another_bucket_of_data_is_done_and_its_lost_rank_is_run_again(enforcing):
    for _ in range(2):
        execution = executed(enforcing, data_bucket=DATA)
        assert execution["status"] == "SUCCEEDED", execution.get("cause")
        assert json.loads(execution["output"])["ranks_done"] == 4
        Store("s3://").delete(BUCKET, ["results/test/2.json"])


def test_a_bucket_that_the_stack_was_not_told_of_cannot_be_read(enforcing):
    execution = executed(enforcing, data_bucket=FOREIGN, result_path="results/foreign")
    assert execution["status"] == "FAILED"
    assert f"cannot list {FOREIGN}/survey: access denied" in json.dumps(
        [execution.get("cause"), execution.get("output")]
    )


def test_no_function_may_write_where_data_are_only_read(enforcing, monkeypatch):
    roles = [role["RoleName"] for role in client("iam").list_roles()["Roles"]]
    tokens = client("sts")
    for name in ("InitRole", "ExecutorRole", "SummaryRole"):
        (role,) = [role for role in roles if name in role]
        keys = tokens.assume_role(RoleArn=f"arn:aws:iam::000000000000:role/{role}", RoleSessionName=uuid.uuid4().hex)[
            "Credentials"
        ]
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
            patch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
            Store("s3://").write(BUCKET, "results/allowed", b"")
            with pytest.raises(StoreError, match="access denied"):
                Store("s3://").write(DATA, "survey/1.pt", b"")
