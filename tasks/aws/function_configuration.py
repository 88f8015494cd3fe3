"""What a Lambda function was given: its memory and its architecture."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from inference.errors import BadInput
from tasks.aws.session import client, explain


def memory_of(function_name: str) -> int:
    """MB that a function is given.

    Raises:
        BadInput: there is no such function, or it may not be looked at.
    """
    return int(_configuration(function_name)["MemorySize"])


def given(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's document keeps of a function's configuration: its memory, and when it or its code last changed.

    >>> given({"MemorySize": 1769, "LastModified": "2026-11-28T00:00:00.000+0000"})
    {'function_memory_mb': 1769, 'function_modified': '2026-11-28T00:00:00.000+0000'}
    """
    memory, modified = configuration.get("MemorySize"), configuration.get("LastModified")
    return {"function_memory_mb": memory and int(memory), "function_modified": modified and str(modified)}


def configuration_of(function_name: str) -> dict[str, Any]:
    """Everything that AWS says of a function; nothing where it may not be looked at."""
    try:
        return _configuration(function_name)
    except BadInput:
        return {}


def _configuration(function_name: str) -> dict[str, Any]:
    try:
        return dict(client("lambda").get_function_configuration(FunctionName=function_name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise BadInput(f"function_name: there is no function {function_name}: `cosmic deploy` makes one") from None
        raise BadInput(f"function_name: {explain(error)}") from error
    except BotoCoreError as error:
        raise BadInput(explain(error)) from error
