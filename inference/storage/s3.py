"""What S3 needs beyond obstore's own reading of the environment, and its refusals as sentences."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError

from inference.contract.validation import sanitize_text
from inference.errors import StoreError

_SAID = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access denied: these credentials may not do that, or the bucket is another account's",
    "AllAccessDisabled": "access to this bucket is disabled",
    "InvalidAccessKeyId": "AWS does not know the access key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired: sign in again",
    "InvalidToken": "the session token is not valid: sign in again",
    "PermanentRedirect": "the bucket lies in another region: set AWS_REGION to it",
    "AuthorizationHeaderMalformed": "the bucket lies in another region: set AWS_REGION to it",
    "SlowDown": "S3 asks for fewer requests a second",
    "NoSuchKey": "no such object",
}
_STATUSES = {"301": "PermanentRedirect", "403": "AccessDenied", "404": "NoSuchKey"}


def options() -> dict[str, Any]:
    """Keyword arguments for obstore's `S3Store`: endpoint, and credentials where the environment holds none.

    Keys in the environment, as Lambda has them, are read by obstore itself; profiles, single sign-on and roles are
    boto3's business, which is imported only then.

    Raises:
        StoreError: there are no credentials, or the endpoint has some in it.
    """
    found: dict[str, Any] = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    check_endpoint(endpoint)
    if endpoint:
        found |= {
            "endpoint": endpoint,
            "virtual_hosted_style_request": False,
            "client_options": {"allow_http": endpoint.startswith("http://")},
        }
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider

        session = boto3.Session()
        if session.get_credentials() is None:
            raise StoreError(
                "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        found["credential_provider"] = Boto3CredentialProvider(session)
    return found


def check_endpoint(endpoint: str | None) -> None:
    """See that an address has no user and no password, which nothing sends and everything prints.

    Raises:
        StoreError: it has; it is not repeated.
    """
    if "@" in urlsplit(endpoint or "").netloc:
        raise StoreError("AWS_ENDPOINT_URL has a user or a password in it, which AWS clients do not send: leave it out")


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
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "S3"
        return sanitize_text(f"nothing answers at {endpoint}")
    return f"{code}: {text}" if code else text
