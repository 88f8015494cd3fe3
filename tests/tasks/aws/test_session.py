import os

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from inference.errors import BadInput
from tasks.aws.session import client, explain
from tasks.prefect_support.aws_credentials import credentials

CANARY = "canary-secret-0123456789"


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def refusal(code, message="no", what="Invoke"):
    return ClientError({"Error": {"Code": code, "Message": message}}, what)


def test_without_credentials_one_is_told_what_to_set(nowhere):
    with pytest.raises(BadInput, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"):
        client("s3")


def test_a_profile_that_is_not_there_is_named(nowhere):
    nowhere.setenv("AWS_PROFILE", "mars")
    with pytest.raises(BadInput, match="no AWS profile 'mars'"):
        client("s3")


def test_without_a_region_one_is_told_what_to_set(nowhere):
    nowhere.setenv("AWS_ACCESS_KEY_ID", "x")
    nowhere.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    with pytest.raises(BadInput, match="set AWS_REGION"):
        client("lambda")
    assert client("lambda", region="eu-west-1").meta.region_name == "eu-west-1"
    nowhere.setenv("AWS_REGION", "eu-central-1")
    assert client("lambda", region="eu-west-1").meta.region_name == "eu-central-1"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refusal("AccessDeniedException"), "access denied: these credentials may not call Invoke"),
        (refusal("ExpiredToken"), "expired"),
        (refusal("UnrecognizedClientException"), "AWS does not know these credentials"),
        (refusal("ThrottlingException", "slow\ndown"), "Invoke was refused: ThrottlingException: slow down"),
        (EndpointConnectionError(endpoint_url="http://h"), "nothing answers at http://h"),
        (ReadTimeoutError(endpoint_url="http://h"), "Read timeout"),
        (ValueError(""), "ValueError"),
    ],
)
def test_a_refusal_is_one_sentence(error, told):
    assert told in explain(error)
    assert "\n" not in explain(error)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
class TestABlock:
    @pytest.fixture
    def block(self, nowhere):
        from prefect_aws import AwsCredentials

        name = "cosmic-test"
        AwsCredentials(
            aws_access_key_id="key-of-the-block", aws_secret_access_key=CANARY, region_name="eu-west-3"
        ).save(name, overwrite=True)
        return name

    def test_its_keys_are_the_processs_while_it_is_used(self, block, nowhere):
        nowhere.setenv("AWS_ACCESS_KEY_ID", "before")
        nowhere.setenv("AWS_SESSION_TOKEN", "of another account")
        with credentials(block):
            assert os.environ["AWS_ACCESS_KEY_ID"] == "key-of-the-block"
            assert "AWS_SESSION_TOKEN" not in os.environ
            assert client("lambda").meta.region_name == "eu-west-3"
        assert os.environ["AWS_ACCESS_KEY_ID"] == "before"
        assert os.environ["AWS_SESSION_TOKEN"] == "of another account"
        assert "AWS_REGION" not in os.environ

    def test_one_that_is_not_there_is_named(self, nowhere):
        with pytest.raises(BadInput, match="no AwsCredentials block 'none'"), credentials("none"):
            pass


def test_no_block_changes_nothing():
    before = dict(os.environ)
    with credentials(None):
        assert dict(os.environ) == before


def test_an_endpoint_with_a_password_is_refused_and_not_repeated(nowhere):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        nowhere.setenv(name, "x")
    nowhere.setenv("AWS_REGION", "eu-west-1")
    nowhere.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://user:{CANARY}@127.0.0.1:9")
    with pytest.raises(BadInput, match="has a user or a password") as told:
        client("lambda")
    assert CANARY not in str(told.value)
