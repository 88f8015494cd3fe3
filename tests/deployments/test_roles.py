"""The functions' roles suffice for a run, and for no more: the emulator enforces them here."""

import json
import re
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from inference.errors import StoreError
from inference.storage.store import Store
from tasks.aws.buckets import make_bucket
from tasks.aws.emulator import emulated
from tasks.aws.session import client
from tasks.aws.stack import install
from tests.conftest import point_at
from tests.support.surveys import request_of, write_survey

pytestmark = pytest.mark.slow
BUCKET, DATA, FOREIGN = "cosmicai-test", "cosmicai-data", "cosmicai-foreign"
SCRIPT = """
import json, os
from inference.storage.store import Store

record = {"total_cpu_time (seconds)": 2.0, "sample_persec": 10.0}
key = f"{os.environ['RESULT_PATH']}/{os.environ['RANK']}.json"
Store("s3://").write(os.environ["RESULT_BUCKET"], key, json.dumps(record).encode())
"""


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
    request = request_of(**changes)
    if "script" in request:
        del request["model"]
    given = json.dumps(request)
    arn = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
    while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.1)
    return execution


def test_run_over_another_bucket_is_done_and_its_lost_rank_run_again(enforcing):
    for _ in range(2):
        execution = executed(enforcing, data_bucket=DATA)
        assert execution["status"] == "SUCCEEDED", execution.get("cause")
        assert json.loads(execution["output"])["ranks_done"] == 4
        Store("s3://").delete(BUCKET, ["results/test/2.json"])


def test_run_over_a_bucket_that_is_not_the_stacks_is_denied(enforcing):
    execution = executed(enforcing, data_bucket=FOREIGN, result_path="results/foreign")
    assert execution["status"] == "FAILED"
    answered = json.dumps([execution.get("cause"), execution.get("output")])
    assert re.search(rf"cannot list {FOREIGN}/survey\S*: access denied", answered), answered


def test_a_script_is_run_and_run_again_when_it_has_changed(enforcing):
    """A script's run takes more rights: its folder is listed, a stale result and the bucket's lease are removed."""
    store = Store("s3://")
    store.write(BUCKET, "careful/run.py", SCRIPT.encode())
    script = {
        "script": "/tmp/careful/run.py",
        "S3_object_name": "careful",
        "result_path": "results/script",
        "file_limit": 4,
    }
    for text in (SCRIPT, f"{SCRIPT}\n# changed"):
        store.write(BUCKET, "careful/run.py", text.encode())
        execution = executed(enforcing, data_bucket=DATA, **script)
        assert execution["status"] == "SUCCEEDED", execution.get("cause")
        assert json.loads(execution["output"])["ranks_done"] == 4


@pytest.fixture(params=["InitRole", "ExecutorRole", "SummaryRole"])
def role(enforcing, request, monkeypatch):
    """This test's AWS clients have the rights of one of the functions."""
    (name,) = [each["RoleName"] for each in client("iam").list_roles()["Roles"] if request.param in each["RoleName"]]
    arn = f"arn:aws:iam::000000000000:role/{name}"
    keys = client("sts").assume_role(RoleArn=arn, RoleSessionName=uuid.uuid4().hex)["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    return request.param


@pytest.mark.usefixtures("role")
def test_no_function_may_write_where_data_are_only_read():
    Store("s3://").write(BUCKET, "results/allowed/summary.json", b"{}")
    with pytest.raises(StoreError, match="access denied"):
        Store("s3://").write(DATA, "survey/1.pt", b"")


def test_no_function_may_do_anything_else(role, enforcing):
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    calls = [
        ("lambda", "list_functions", {}),
        ("lambda", "invoke", {"FunctionName": "cosmic-executor", "Payload": b"{}"}),
        ("lambda", "get_function", {"FunctionName": "cosmic-executor"}),
        ("lambda", "update_function_code", {"FunctionName": "cosmic-executor", "ZipFile": b"x"}),
        ("stepfunctions", "start_execution", {"stateMachineArn": enforcing, "input": "{}"}),
        ("stepfunctions", "list_state_machines", {}),
        ("iam", "list_roles", {}),
        ("iam", "create_user", {"UserName": "mallory"}),
        ("s3", "list_buckets", {}),
        ("s3", "create_bucket", {"Bucket": "cosmicai-new"}),
        ("s3", "delete_bucket", {"Bucket": BUCKET}),
        ("s3", "put_bucket_policy", {"Bucket": BUCKET, "Policy": policy}),
        ("s3", "get_bucket_policy", {"Bucket": BUCKET}),
        ("s3", "list_objects_v2", {"Bucket": FOREIGN}),
        ("s3", "get_object", {"Bucket": FOREIGN, "Key": "survey/1.pt"}),
        ("s3", "delete_object", {"Bucket": DATA, "Key": "survey/1.pt"}),
        ("logs", "describe_log_groups", {}),
        ("logs", "delete_log_group", {"logGroupName": "/aws/lambda/cosmic-executor"}),
        ("cloudformation", "describe_stacks", {}),
        ("secretsmanager", "list_secrets", {}),
        ("dynamodb", "list_tables", {}),
        ("ssm", "describe_parameters", {}),
    ]
    if role == "SummaryRole":
        calls.append(("s3", "get_object", {"Bucket": DATA, "Key": "survey/1.pt"}))
        calls.append(("s3", "list_objects_v2", {"Bucket": DATA}))
        kept = ("models/tiny.safetensors", "models/tiny.calibration.json", "careful/run.py", "careful/index.json")
        of_runs = ("results/test/predictions/0.safetensors", "results/test/0.json", "results/test/payload.json")
        for key in (*kept, *of_runs, "survey/table.parquet", "pages/index.html"):
            calls += [
                ("s3", "put_object", {"Bucket": BUCKET, "Key": key, "Body": b""}),
                ("s3", "delete_object", {"Bucket": BUCKET, "Key": key}),
            ]
    allowed = []
    for service, call, words in calls:
        try:
            getattr(client(service, retries={"total_max_attempts": 1}), call)(**words)
            allowed.append((service, call))
        except ClientError as error:
            if "AccessDenied" not in error.response["Error"]["Code"]:
                allowed.append((service, call, error.response["Error"]["Code"]))
    assert allowed == []
