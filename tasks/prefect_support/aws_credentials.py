"""AWS credentials from a Prefect AwsCredentials block."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inference.errors import BadInput

_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")


@contextmanager
def credentials(block: str | None) -> Iterator[None]:
    """Make the keys of a Prefect AwsCredentials block this process's, so that boto3, obstore and workers agree.

    Args:
        block: its name; None leaves the standard chain alone.

    Raises:
        BadInput: there is no such block, or it holds no keys.
    """
    if block is None:
        yield
        return
    from prefect_aws import AwsCredentials

    try:
        loaded: Any = AwsCredentials.load(block)
    except ValueError:
        raise BadInput(f"there is no AwsCredentials block {block!r:.80}: make one in the Prefect UI") from None
    found = loaded.get_boto3_session()
    keys = found.get_credentials()
    if keys is None:
        raise BadInput(f"the AwsCredentials block {block!r:.80} holds no keys")
    frozen = keys.get_frozen_credentials()
    values = (frozen.access_key, frozen.secret_key, frozen.token, found.region_name, found.region_name)
    wanted = {name: value for name, value in zip(_VARIABLES, values, strict=True) if value}
    if frozen.token is None:
        wanted |= {"AWS_SESSION_TOKEN": ""}
    endpoint = loaded.aws_client_parameters.endpoint_url
    if endpoint:
        wanted["AWS_ENDPOINT_URL"] = str(endpoint)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if value})
    if not wanted.get("AWS_SESSION_TOKEN"):
        os.environ.pop("AWS_SESSION_TOKEN", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
