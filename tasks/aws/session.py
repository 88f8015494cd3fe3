"""boto3 clients, the credentials behind them, and AWS's refusals as sentences."""

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from inference.contract.validation import sanitize_text
from inference.errors import BadInput, StoreError
from inference.storage.s3 import check_endpoint

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch"}


def client(service: str, region: str | None = None, **config: Any) -> Any:
    """A boto3 client from the standard credential chain; AWS_ENDPOINT_URL and the like are boto3's to read.

    Args:
        service: as boto3 calls it.
        region: where the environment and the profile name none.
        config: of botocore's `Config`.

    Raises:
        BadInput: there are no credentials, no such profile, or no region; or the endpoint has credentials in it.
    """
    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            raise NoCredentialsError
        where = session.region_name or os.environ.get("AWS_REGION") or region
        made = session.client(service, region_name=where, config=Config(**config))
        check_endpoint(made.meta.endpoint_url)
        return made
    except StoreError as error:
        raise BadInput(str(error)) from None
    except (BotoCoreError, ValueError) as error:
        raise BadInput(explain(error)) from None


def explain(error: BaseException) -> str:
    """What AWS, or the way to it, refused, as one sentence without any credential."""
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        case NoRegionError():
            return "no AWS region is set: set AWS_REGION"
        case ProfileNotFound():
            return f"there is no AWS profile {os.environ.get('AWS_PROFILE', '')!r:.80} (AWS_PROFILE)"
        case EndpointConnectionError():
            return sanitize_text(f"nothing answers at {error.kwargs.get('endpoint_url', 'AWS')}")
        case ClientError():
            return _refusal(error)
    return sanitize_text(" ".join(str(error).split())[:300]) or type(error).__name__


def _refusal(error: ClientError) -> str:
    told = error.response.get("Error", {})
    code, what = told.get("Code", ""), error.operation_name
    if code in _DENIED:
        return f"access denied: these credentials may not call {what}"
    if code in _EXPIRED:
        return "the AWS credentials have expired: sign in again"
    if code in _UNKNOWN:
        return "AWS does not know these credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    message = sanitize_text(" ".join(str(told.get("Message", "")).split())[:300])
    return f"{what} was refused: {code}{': ' if message else ''}{message}"
