"""The memory of the Lambda function, which a sweep varies and leaves as it found it."""

from botocore.exceptions import BotoCoreError, ClientError

from inference.errors import BadInput
from tasks.aws.session import client, explain


def memory_of(function_name: str) -> int:
    """MB that a function is given.

    Raises:
        BadInput: there is no such function, or it may not be looked at.
    """
    try:
        return int(client("lambda").get_function_configuration(FunctionName=function_name)["MemorySize"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise BadInput(f"function_name: there is no function {function_name}: `cosmic deploy` makes one") from None
        raise BadInput(f"function_name: {explain(error)}") from error
    except BotoCoreError as error:
        raise BadInput(explain(error)) from error
