"""AWS clients, and AWS's refusals as sentences."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from inference.contract.validation import sanitize_text
from inference.errors import BadInput, StoreError
from inference.storage import aws_identity

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch"}


def client(service: str, region: str | None = None, **config: Any) -> Any:
    """A botocore client with the identity that the store has, too (`inference.storage.aws_identity`).

    Args:
        service: as botocore names it.
        region: where neither the environment nor the profile names one.
        config: arguments of botocore's `Config`.

    Raises:
        BadInput: there are no credentials, no such profile, or no region; or the endpoint has credentials in it.
    """
    try:
        return aws_identity.make_client(service, region, config)
    except StoreError as error:
        raise BadInput(str(error)) from None
    except (BotoCoreError, ValueError) as error:
        raise BadInput(explain(error)) from None


def store_host(region: str) -> str:
    """S3's host in a region, where a function's store must be given it: outside amazonaws.com; else "".

    >>> store_host("cn-north-1"), store_host("eu-west-1")
    ('s3.cn-north-1.amazonaws.com.cn', '')
    """
    session = aws_identity.session()
    suffix = session.get_component("endpoint_resolver").get_partition_dns_suffix(
        session.get_partition_for_region(region)
    )
    return "" if suffix == "amazonaws.com" else f"s3.{region}.{suffix}"


def explain(error: BaseException) -> str:
    """What AWS, or the way to it, refused, as one sentence without any credential."""
    match error:
        case EndpointConnectionError():
            return sanitize_text(f"nothing answers at {error.kwargs.get('endpoint_url', 'AWS')}")
        case ClientError():
            return _refusal(error)
    known = aws_identity.why_no_identity(error)
    return known or sanitize_text(" ".join(str(error).split())[:300]) or type(error).__name__


def _refusal(error: ClientError) -> str:
    answer = error.response.get("Error", {})
    code, what = answer.get("Code", ""), error.operation_name
    if code in _DENIED:
        return f"access denied: these credentials may not call {what}"
    if code in _EXPIRED:
        return aws_identity.EXPIRED
    if code in _UNKNOWN:
        return "AWS does not know these credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    message = sanitize_text(" ".join(str(answer.get("Message", "")).split())[:300])
    return f"{what} was refused: {code}{': ' if message else ''}{message}"
