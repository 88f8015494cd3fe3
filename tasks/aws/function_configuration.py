"""What a Lambda function was given: its memory and its architecture."""

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


def architecture_of(function_name: str) -> str | None:
    """`x86_64` or `arm64`; None where the function may not be looked at."""
    try:
        return str((_configuration(function_name).get("Architectures") or ["x86_64"])[0])
    except BadInput:
        return None


def _configuration(function_name: str) -> dict[str, Any]:
    try:
        return dict(client("lambda").get_function_configuration(FunctionName=function_name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise BadInput(f"function_name: there is no function {function_name}: `cosmic deploy` makes one") from None
        raise BadInput(f"function_name: {explain(error)}") from error
    except BotoCoreError as error:
        raise BadInput(explain(error)) from error
