import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.aws.buckets import content_of, delete_bucket, empty, make_bucket
from tasks.aws.destruction import plan_removal, remove
from tasks.aws.session import client
from tasks.aws.stack import DeployFailed, deploy, install
from tasks.executors.select import executor_of
from tests.support.surveys import request_of


class Killed(Exception):
    """In place of a kill: nothing of the command runs any more."""


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("aws")]


@pytest.fixture
def bucket():
    return f"cosmicai-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module", autouse=True)
def put_back(emulator_url):
    """These tests take the stack down that others run on: it is there again afterwards."""
    yield
    from tests.conftest import point_at

    with pytest.MonkeyPatch.context() as patch:
        point_at(emulator_url, patch)
        make_bucket("cosmicai-test")
        install("cosmic-flows", "cosmicai-test", {})


def destroy(stack, *, with_data):
    """Remove a stack as `cosmic destroy --yes` does; what was removed."""
    removal = plan_removal(stack, with_data=with_data)
    remove(removal)
    return removal


@pytest.fixture
def none_there(aws):
    try:
        destroy("cosmic-flows", with_data=False)
    except BadInput as error:
        assert "there is no stack" in str(error)


@pytest.mark.usefixtures("none_there")
def test_stack_is_made_left_alone_changed_and_removed(bucket):
    lines = []
    first = install("cosmic-flows", bucket, {"ExecutorMemory": "2048"}, show=lines.append)
    assert first.changed
    assert first.outputs["BucketName"] == bucket
    assert first.outputs["StateMachineArn"].endswith(":stateMachine:cosmic-flows")
    assert any("CREATE_COMPLETE" in line and "ExecutorFunction" in line for line in lines)
    functions = client("lambda")
    facts = functions.get_function_configuration(FunctionName="cosmic-executor")
    assert (facts["MemorySize"], facts["Timeout"]) == (2048, 900)
    assert not install("cosmic-flows", bucket, {"ExecutorMemory": "2048"}).changed
    assert install("cosmic-flows", bucket, {"ExecutorMemory": "3008"}).changed
    assert functions.get_function_configuration(FunctionName="cosmic-executor")["MemorySize"] == 3008
    Store("s3://").write(bucket, "results/kept.txt", b"kept")
    assert (
        destroy("cosmic-flows", with_data=False).kept == f"the bucket {bucket} is kept; with --with-data it goes, too"
    )
    assert Store("s3://").read(bucket, "results/kept.txt") == b"kept"
    with pytest.raises(BadInput, match="there is no stack cosmic-flows"):
        destroy("cosmic-flows", with_data=False)


@pytest.mark.usefixtures("none_there")
def test_removal_takes_the_stacks_own_bucket_with_every_version(bucket):
    install("cosmic-flows", bucket, {})
    store = Store("s3://")
    for text in (b"one", b"two"):
        store.write(bucket, "results/a.txt", text)
    store.write(bucket, "models/b.txt", b"weights")
    removal = plan_removal("cosmic-flows", with_data=True)
    assert removal.resources > 10
    assert (removal.data.versions, removal.data.folders) == (3, (("results/", 2), ("models/", 1)))
    assert any("3 versions of objects" in line and "results/ 2" in line for line in removal.lines())
    assert removal.code.versions >= 1
    assert store.head(bucket, "results/a.txt") is not None, "looking removes nothing"
    remove(removal)
    assert not store.has_bucket(bucket)
    assert not content_of(removal.code.bucket, removal.code.prefix).versions


@pytest.mark.usefixtures("none_there")
def test_removal_that_was_killed_on_the_way_goes_on_to_the_end(bucket):
    def killed(line):
        if line.startswith("emptying"):
            raise Killed

    install("cosmic-flows", bucket, {})
    with pytest.raises(Killed):
        remove(plan_removal("cosmic-flows", with_data=True), show=killed)
    destroy("cosmic-flows", with_data=True)
    assert not Store("s3://").has_bucket(bucket)


@pytest.mark.usefixtures("none_there")
def test_deployments_at_the_same_moment_both_come_to_an_end(bucket):
    with ThreadPoolExecutor() as pool:
        wanted = [pool.submit(install, "cosmic-flows", bucket, {"ExecutorMemory": size}) for size in ("2048", "3008")]
        assert [each.result().outputs["BucketName"] for each in wanted] == [bucket, bucket]
    assert client("lambda").get_function_configuration(FunctionName="cosmic-executor")["MemorySize"] in {2048, 3008}


@pytest.mark.usefixtures("none_there")
def test_deployment_after_a_killed_one_waits_for_what_that_began(bucket):
    def killed(line):
        if line.startswith("CREATE_IN_PROGRESS"):
            raise Killed

    with pytest.raises(Killed):
        install("cosmic-flows", bucket, {"ExecutorMemory": "2048"}, show=killed)
    install("cosmic-flows", bucket, {"ExecutorMemory": "2048"})
    assert plan_removal("cosmic-flows", with_data=True).data is not None, "the bucket is known as the stack's own"


@pytest.mark.usefixtures("none_there")
def test_removal_leaves_a_bucket_that_the_stack_did_not_make(bucket):
    make_bucket(bucket)
    store = Store("s3://")
    store.write(bucket, "survey/1.pt", b"galaxies")
    assert install("cosmic-flows", bucket, {}).changed
    removal = destroy("cosmic-flows", with_data=True)
    assert (removal.data, removal.kept) == (
        None,
        f"the bucket {bucket} is kept: the stack cosmic-flows did not make it",
    )
    assert store.read(bucket, "survey/1.pt") == b"galaxies"


@pytest.mark.usefixtures("none_there")
def test_removal_knows_a_bucket_that_an_earlier_stack_of_this_name_made(bucket):
    install("cosmic-flows", bucket, {})
    destroy("cosmic-flows", with_data=False)
    install("cosmic-flows", bucket, {})
    assert destroy("cosmic-flows", with_data=True).data is not None
    assert not Store("s3://").has_bucket(bucket)


@pytest.mark.usefixtures("none_there")
def test_two_stacks_have_names_of_their_own_and_outlive_each_other(bucket):
    first = install("cosmic-flows", bucket, {})
    second = install("second", f"{bucket}-b", {})
    assert first.outputs["ExecutorFunction"] == "cosmic-executor"
    assert second.outputs["ExecutorFunction"] == "second-cosmic-executor"
    assert second.outputs["StateMachineArn"].endswith(":stateMachine:second-cosmic-flows")
    request = RunRequest.read(request_of(bucket=f"{bucket}-b", stack_name="second"))
    assert request.function_name == second.outputs["ExecutorFunction"]
    for executor in ("lambda", "step-functions"):
        pool = executor_of(executor, request, "s3://", None)
        pool.check()
        assert "second-" in str(pool.facts())
    destroy("second", with_data=True)
    functions = client("lambda")
    assert functions.get_function_configuration(FunctionName="cosmic-executor")["Handler"]
    assert not Store("s3://").has_bucket(f"{bucket}-b")
    assert Store("s3://").has_bucket(bucket)


class TestKey:
    @pytest.fixture
    def key(self, aws):
        return client("kms").create_key()["KeyMetadata"]["Arn"]

    @pytest.mark.usefixtures("none_there")
    def test_key_of_a_bucket_is_asked_for_and_given_to_every_role(self, bucket, key):
        make_bucket(bucket)
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
        client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
        with pytest.raises(BadInput, match=f"the bucket {bucket} is encrypted with a KMS key: deploy with --kms-key"):
            install("cosmic-flows", bucket, {})
        other = client("kms").create_key()["KeyMetadata"]["Arn"]
        with pytest.raises(BadInput, match=r"--kms-key: the bucket .* is encrypted with"):
            install("cosmic-flows", bucket, {"KmsKeyArn": other})
        install("cosmic-flows", bucket, {"KmsKeyArn": key})
        iam = client("iam")
        roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if "cosmic-flows" in role["RoleName"]]
        assert len(roles) == 4
        for role in roles:
            (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
            policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            allowed = [each for each in policy["Statement"] if each["Resource"] == key]
            assert [each["Action"] for each in allowed] == [["kms:Decrypt", "kms:GenerateDataKey"]], role

    def test_key_that_cannot_be_used_is_refused_before_anything_is_made(self, bucket, key):
        with pytest.raises(BadInput, match=r"--kms-key: .* cannot be used"):
            install("cosmic-flows", bucket, {"KmsKeyArn": f"{key}0"})
        client("kms").disable_key(KeyId=key)
        with pytest.raises(BadInput, match="is Disabled, not enabled"):
            install("cosmic-flows", bucket, {"KmsKeyArn": key})
        assert not Store("s3://").has_bucket(bucket)


def test_bucket_is_emptied_with_every_version(bucket):
    make_bucket(bucket)
    client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for text in (b"one", b"two"):
        Store("s3://").write(bucket, "a", text)
    Store("s3://").delete(bucket, ["a"])
    assert not delete_bucket(bucket)
    empty(bucket)
    assert delete_bucket(bucket)
    assert not Store("s3://").has_bucket(bucket)


def test_bucket_is_made_once(bucket):
    assert make_bucket(bucket)
    assert not make_bucket(bucket)


@pytest.mark.usefixtures("none_there")
def test_stack_moved_to_another_bucket_keeps_the_one_that_it_made(bucket):
    assert install("cosmic-flows", bucket, {}).changed
    Store("s3://").write(bucket, "results/kept.txt", b"kept")
    make_bucket(f"{bucket}-b")
    assert install("cosmic-flows", f"{bucket}-b", {}).outputs["BucketName"] == f"{bucket}-b"
    assert Store("s3://").read(bucket, "results/kept.txt") == b"kept"


def test_bucket_of_another_region_is_refused_by_name(bucket, monkeypatch):
    make_bucket(bucket)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    with pytest.raises(BadInput, match=f"the bucket {bucket} lies in us-east-1"):
        install("cosmic-flows", bucket, {})


def test_bucket_of_another_account_is_refused_by_name(bucket, monkeypatch):
    make_bucket(bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "111111111111")
    with pytest.raises(BadInput, match=f"the bucket {bucket} cannot be used"):
        install("cosmic-flows", bucket, {})


@pytest.mark.usefixtures("none_there")
def test_stack_whose_change_is_rolled_back_says_which_resource_and_why(bucket):
    install("cosmic-flows", bucket, {})
    with pytest.raises(DeployFailed, match=r"UPDATE_ROLLBACK_COMPLETE: \w+Function: .*cosmicai-none"):
        deploy("cosmic-flows", {"BucketName": bucket, "CodeBucket": "cosmicai-none", "CodeKey": "none"})


@pytest.mark.usefixtures("none_there")
def test_stack_whose_creation_was_rolled_back_is_made_anew(bucket):
    make_bucket(bucket)
    with pytest.raises(DeployFailed, match="ended ROLLBACK_COMPLETE"):
        deploy("cosmic-flows", {"BucketName": bucket, "MakeBucket": "yes"})
    assert install("cosmic-flows", bucket, {}).changed


@pytest.mark.usefixtures("none_there")
def test_stack_with_a_parameter_of_a_wrong_type_is_refused(bucket):
    with pytest.raises((BadInput, DeployFailed)):
        install("cosmic-flows", bucket, {"ExecutorMemory": "many"})


def test_stack_without_credentials_is_refused(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(BadInput, match="no AWS credentials"):
        install("cosmic-flows", bucket, {})
