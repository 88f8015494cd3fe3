import uuid

import pytest

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.aws.session import client
from tasks.aws.stack import DeployFailed, deploy, destroy, empty_bucket, install, make_bucket

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


@pytest.fixture
def none_there(aws):
    try:
        destroy("cosmic-flows", with_data=False)
    except BadInput as error:
        assert "there is no stack" in str(error)


@pytest.mark.usefixtures("none_there")
def test_a_stack_is_made_is_left_alone_is_changed_and_is_removed(bucket):
    told = []
    first = install("cosmic-flows", bucket, {"ExecutorMemory": "2048"}, show=told.append)
    assert first.changed
    assert first.outputs["BucketName"] == bucket
    assert first.outputs["StateMachineArn"].endswith(":stateMachine:cosmic-flows")
    assert any("CREATE_COMPLETE" in line and "ExecutorFunction" in line for line in told)
    functions = client("lambda")
    facts = functions.get_function_configuration(FunctionName="cosmic-executor")
    assert (facts["MemorySize"], facts["Timeout"]) == (2048, 900)
    assert not install("cosmic-flows", bucket, {"ExecutorMemory": "2048"}).changed
    assert install("cosmic-flows", bucket, {"ExecutorMemory": "3008"}).changed
    assert functions.get_function_configuration(FunctionName="cosmic-executor")["MemorySize"] == 3008
    Store("s3://").write(bucket, "results/kept.txt", b"kept")
    assert destroy("cosmic-flows", with_data=False) == [bucket]
    assert Store("s3://").read(bucket, "results/kept.txt") == b"kept"
    with pytest.raises(BadInput, match="there is no stack cosmic-flows"):
        destroy("cosmic-flows", with_data=False)


@pytest.mark.usefixtures("none_there")
def test_a_bucket_that_is_there_is_used_and_goes_only_with_its_data(bucket):
    make_bucket(bucket)
    store = Store("s3://")
    store.write(bucket, "survey/1.pt", b"galaxies")
    assert install("cosmic-flows", bucket, {}).changed
    assert store.read(bucket, "survey/1.pt") == b"galaxies"
    assert destroy("cosmic-flows", with_data=True) == []
    assert not store.has_bucket(bucket)


def test_a_bucket_is_emptied_with_every_version(bucket):
    make_bucket(bucket)
    client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for text in (b"one", b"two"):
        Store("s3://").write(bucket, "a", text)
    Store("s3://").delete(bucket, ["a"])
    empty_bucket(bucket)
    assert not Store("s3://").has_bucket(bucket)


def test_a_bucket_is_made_once(bucket):
    assert make_bucket(bucket)
    assert not make_bucket(bucket)


@pytest.mark.usefixtures("none_there")
def test_a_stack_moves_to_a_bucket_that_is_there_and_keeps_the_one_that_it_made(bucket):
    assert install("cosmic-flows", bucket, {}).changed
    Store("s3://").write(bucket, "results/kept.txt", b"kept")
    make_bucket(f"{bucket}-b")
    assert install("cosmic-flows", f"{bucket}-b", {}).outputs["BucketName"] == f"{bucket}-b"
    assert Store("s3://").read(bucket, "results/kept.txt") == b"kept"


def test_a_bucket_of_another_region_is_refused_by_name(bucket, monkeypatch):
    make_bucket(bucket)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    with pytest.raises(BadInput, match=f"the bucket {bucket} lies in us-east-1"):
        install("cosmic-flows", bucket, {})


def test_a_bucket_of_another_account_is_refused_by_name(bucket, monkeypatch):
    make_bucket(bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "111111111111")
    with pytest.raises(BadInput, match=f"the bucket {bucket} cannot be used"):
        install("cosmic-flows", bucket, {})


@pytest.mark.usefixtures("none_there")
def test_a_change_that_is_rolled_back_says_which_resource_and_why(bucket):
    install("cosmic-flows", bucket, {})
    with pytest.raises(DeployFailed, match=r"UPDATE_ROLLBACK_COMPLETE: \w+Function: .*cosmicai-none"):
        deploy("cosmic-flows", {"BucketName": bucket, "CodeBucket": "cosmicai-none", "CodeKey": "none"})


@pytest.mark.usefixtures("none_there")
def test_a_stack_whose_making_was_rolled_back_is_made_anew(bucket):
    make_bucket(bucket)
    with pytest.raises(DeployFailed, match="ended ROLLBACK_COMPLETE"):
        deploy("cosmic-flows", {"BucketName": bucket, "MakeBucket": "yes"})
    assert install("cosmic-flows", bucket, {}).changed


@pytest.mark.usefixtures("none_there")
def test_a_parameter_that_the_template_does_not_have_is_told_before_anything_is_made(bucket):
    with pytest.raises((BadInput, DeployFailed)):
        install("cosmic-flows", bucket, {"ExecutorMemory": "many"})


def test_without_credentials_nothing_is_done(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(BadInput, match="no AWS credentials"):
        install("cosmic-flows", bucket, {})
