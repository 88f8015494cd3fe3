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


def explain(error: BaseException) -> str:
    """What AWS, or the way to it, refused, as one sentence without any credential."""
    match error:
        case EndpointConnectionError():
            return sanitize_text(f"nothing answers at {error.kwargs.get('endpoint_url', 'AWS')}")
        case ClientError():
            return _refusal(error)
    known = aws_identity.explain(error)
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
