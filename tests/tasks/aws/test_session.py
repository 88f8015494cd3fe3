import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from inference.errors import BadInput
from tasks.aws.session import client, explain

CANARY = "canary-secret-0123456789"


def refusal(code, message="no", what="Invoke"):
    return ClientError({"Error": {"Code": code, "Message": message}}, what)


def test_client_without_credentials_says_what_to_set(without_aws):
    with pytest.raises(BadInput, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"):
        client("s3")


def test_client_of_a_missing_profile_names_it(without_aws):
    without_aws.setenv("AWS_PROFILE", "mars")
    with pytest.raises(BadInput, match="no AWS profile 'mars'"):
        client("s3")


def test_client_without_a_region_says_what_to_set(without_aws):
    without_aws.setenv("AWS_ACCESS_KEY_ID", "x")
    without_aws.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    with pytest.raises(BadInput, match="set AWS_REGION"):
        client("lambda")
    assert client("lambda", region="eu-west-1").meta.region_name == "eu-west-1"
    without_aws.setenv("AWS_REGION", "eu-central-1")
    assert client("lambda", region="eu-west-1").meta.region_name == "eu-central-1"


@pytest.mark.parametrize(
    ("error", "message"),
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
def test_explain_makes_a_refusal_one_sentence(error, message):
    assert message in explain(error)
    assert "\n" not in explain(error)


def test_client_with_a_password_in_its_endpoint_repeats_none(without_aws):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        without_aws.setenv(name, "x")
    without_aws.setenv("AWS_REGION", "eu-west-1")
    without_aws.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://user:{CANARY}@127.0.0.1:9")
    with pytest.raises(BadInput, match="has a user or a password") as refused:
        client("lambda")
    assert CANARY not in str(refused.value)
