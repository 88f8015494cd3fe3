"""Which AWS: region, partition, endpoint and credentials, decided by botocore once for every client of this process.

boto3's clients are made from the session below, and the object store is given what the session decided: nothing else in
this project reads AWS's variables or configuration files to find them.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from inference.contract.validation import sanitize_text
from inference.errors import StoreError

NO_CREDENTIALS = "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
NO_REGION = "no AWS region is set: set AWS_REGION"
EXPIRED = "the AWS credentials have expired: sign in again"
_ASK_AGAIN_AFTER = timedelta(seconds=1)
_making = threading.Lock()  # botocore's sessions make one client at a time


@dataclass(frozen=True)
class S3Access:
    """What an S3 client needs to know.

    Attributes:
        region: whose signatures the endpoint expects.
        partition: such as `aws` or `aws-cn`.
        endpoint: URL without the bucket, which follows as the first part of the path.
        credentials: botocore's; they refresh themselves where their source allows.
    """

    region: str
    partition: str
    endpoint: str
    credentials: Any

    def credential(self) -> dict[str, Any]:
        """The keys that are valid now, as obstore's credential provider.

        Keys that expire are asked for again with every request, so that botocore alone decides when to refresh them.

        Raises:
            StoreError: they have expired and cannot be refreshed.
        """
        from botocore.exceptions import BotoCoreError

        try:
            keys = self.credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise StoreError(why_no_identity(error) or sanitize_text(error)) from None
        expires = hasattr(self.credentials, "refresh_needed")
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _ASK_AGAIN_AFTER if expires else None,
        }


def is_inside_function() -> bool:
    """Whether this process is a Lambda function, whose environment says all: its keys are of its one invocation."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


def session() -> Any:
    """Botocore's session for the environment as it is now, the same one for every client.

    The region is that of AWS_REGION, AWS_DEFAULT_REGION or the profile, in the order of the AWS CLI.
    """
    return _session(frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=4)
def _session(variables: frozenset[tuple[str, str]]) -> Any:
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    made = Session()
    region = dict(variables).get("AWS_REGION")
    if region:
        made.set_config_variable("region", region)
    with suppress(BotoCoreError):  # of a damaged configuration, which the first client reports
        made.register_component("data_loader", _data_loader(made.get_config_variable("data_path")))
    return made


@lru_cache(maxsize=4)
def _data_loader(data_path: str | None) -> Any:
    """Reader of botocore's descriptions of services, one for all sessions: parsing them is most of a client's cost."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def make_client(service: str, region: str | None = None, config: Mapping[str, Any] | None = None) -> Any:
    """A botocore client of the session.

    Args:
        service: as botocore names it.
        region: where neither the environment nor the profile names one.
        config: arguments of botocore's `Config`.

    Raises:
        NoCredentialsError: there are no credentials.
        BotoCoreError: there is no region, no such profile, or the configuration is damaged.
        StoreError: the endpoint has a user or a password in it.
    """
    from botocore.config import Config
    from botocore.exceptions import NoCredentialsError

    used = session()
    with _making:
        if used.get_credentials() is None:
            raise NoCredentialsError
        where = used.get_config_variable("region") or region
        made = used.create_client(service, region_name=where, config=Config(**(config or {})))
    check_endpoint(made.meta.endpoint_url)
    return made


def s3_access() -> S3Access:
    """What the object store needs to know, as botocore decides it for an S3 client.

    Raises:
        StoreError: there are no credentials, no region, no such profile; or the endpoint has a password in it.
    """
    return _s3_access(session())


@lru_cache(maxsize=4)
def _s3_access(used: Any) -> S3Access:
    from botocore.exceptions import BotoCoreError

    try:
        s3 = make_client("s3", config={"s3": {"addressing_style": "path", "us_east_1_regional_endpoint": "regional"}})
    except BotoCoreError as error:
        raise StoreError(why_no_identity(error) or sanitize_text(error)) from None
    meta = s3.meta
    # Where no region is set, botocore signs for the first one.
    region = "us-east-1" if meta.region_name == "aws-global" else meta.region_name
    return S3Access(region, meta.partition, meta.endpoint_url.rstrip("/"), used.get_credentials())


def check_endpoint(endpoint: str | None) -> None:
    """See that an address has no user and no password, which nothing sends and everything prints.

    Raises:
        StoreError: it has; it is not repeated.
    """
    if "@" in urlsplit(endpoint or "").netloc:
        raise StoreError("AWS_ENDPOINT_URL has a user or a password in it, which AWS clients do not send: leave it out")


def why_no_identity(error: BaseException) -> str:
    """Why there is no usable identity, as one sentence without any credential; "" where the error is of another kind.

    Args:
        error: botocore's, from making a client or refreshing its keys.
    """
    from botocore import exceptions as failed

    match error:
        case failed.NoCredentialsError() | failed.PartialCredentialsError():
            return NO_CREDENTIALS
        case failed.NoRegionError():
            return NO_REGION
        case failed.ProfileNotFound():
            return f"there is no AWS profile {os.environ.get('AWS_PROFILE', '')!r:.80} (AWS_PROFILE)"
        case failed.SSOError() | failed.TokenRetrievalError() | failed.LoginError():
            return EXPIRED
        case failed.CredentialRetrievalError():
            return f"the AWS credentials cannot be fetched: {sanitize_text(' '.join(str(error).split())[:300])}"
    return ""
