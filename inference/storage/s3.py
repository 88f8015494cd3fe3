"""S3 as obstore takes it, and its refusals as sentences."""

import os
import re
from typing import Any

from obstore.exceptions import BaseError

from inference.contract.validation import sanitize_text
from inference.errors import StoreError
from inference.storage import aws_identity

_SAID = re.compile(r"<Code>(\w+)</Code>")
_PROVIDER = re.compile(r"External AWS credential provider: \w+: (.+)")
_STATUS = re.compile(r"status code: (\d{3})")
_REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access denied: these credentials may not do that, or the bucket is another account's",
    "AllAccessDisabled": "access to this bucket is disabled",
    "InvalidAccessKeyId": "AWS does not know the access key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": aws_identity.EXPIRED,
    "InvalidToken": "the session token is not valid: sign in again",
    "PermanentRedirect": "the bucket lies in another region: set AWS_REGION to it",
    "AuthorizationHeaderMalformed": "the bucket lies in another region: set AWS_REGION to it",
    "SlowDown": "S3 asks for fewer requests a second",
    "NoSuchKey": "no such object",
    "BadRequest": "S3 gives no reason: the credentials have expired, or the bucket lies in another region",
}
_STATUSES = {"301": "PermanentRedirect", "400": "BadRequest", "403": "AccessDenied", "404": "NoSuchKey"}


def options() -> dict[str, Any]:
    """Keyword arguments for obstore's `S3Store`, as `inference.storage.aws_identity` decides them.

    A function's environment holds all that there is to decide, and obstore reads it without botocore, whose import
    would make every cold start longer.

    Raises:
        StoreError: there are no credentials, no region, no such profile; or the endpoint has a password in it.
    """
    if not aws_identity.is_inside_function():
        found = aws_identity.s3_access()
        return {"region": found.region, "credential_provider": found.credential, **_at(found.endpoint)}
    endpoint = _function_endpoint()
    aws_identity.check_endpoint(endpoint)
    return _at(endpoint) if endpoint else {}


def _at(endpoint: str) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": endpoint.startswith("http://")},
    }


def _function_endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _endpoint() -> str:
    """Where the store's requests go, for a message."""
    try:
        return (
            _function_endpoint() if aws_identity.is_inside_function() else aws_identity.s3_access().endpoint
        ) or "S3"
    except StoreError:
        return "S3"


def bare(error: BaseException) -> BaseException:
    """The error without what S3 repeats of the request, such as a session token: it ends up in tracebacks."""
    if not isinstance(error, BaseError):
        return error
    code = code_of(error)
    return type(error)(f"<Code>{code}</Code>" if code else reason_of(error))


def code_of(error: BaseException) -> str:
    """S3's own code for a refusal, such as NoSuchBucket; "" where the error holds none."""
    text = str(error)
    said = _SAID.search(text)
    if said:
        return said[1]
    if "Received redirect" in text:  # obstore shows neither status nor body of one
        return "PermanentRedirect"
    status = _STATUS.search(text)
    return _STATUSES.get(status[1], "") if status else ""


def reason_of(error: BaseException) -> str:
    """A store's refusal in words, without its request's details."""
    code = code_of(error)
    if code in _REASONS:
        return _REASONS[code]
    text = sanitize_text(str(error).split("\n", 1)[0])
    if "error sending request" in text:
        return sanitize_text(f"nothing answers at {_endpoint()}")
    if provider := _PROVIDER.search(text):
        return provider[1]
    return f"{code}: {text}" if code else text
