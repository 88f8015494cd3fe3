"""The memory of the Lambda function, which a sweep varies and leaves as it found it."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.errors import BadInput, CosmicError
from tasks.aws import client, explain
from tasks.policy import STEP_RETRIES, worth_retrying


@task(
    name="set function memory",
    task_run_name="{function_name} gets {memory_mb} MB",
    retries=STEP_RETRIES,
    retry_delay_seconds=2,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def set_memory(function_name: str, memory_mb: int) -> None:
    """Give a function so much memory, and wait until calls get it; calls under way keep what they had.

    Args:
        function_name: name or ARN.
        memory_mb: 128 to 10,240.

    Raises:
        BadInput: there is no such function, or it may not be changed.
        CosmicError: AWS did not finish the change.
    """
    try:
        if memory_of(function_name) == memory_mb:
            return
        functions = client("lambda")
        functions.update_function_configuration(FunctionName=function_name, MemorySize=memory_mb)
        functions.get_waiter("function_updated").wait(FunctionName=function_name)
    except WaiterError as error:
        raise CosmicError(f"{function_name} did not come to {memory_mb:,} MB of memory: {error}") from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceConflictException":
            raise CosmicError(f"{function_name} is being changed by somebody else") from error
        raise BadInput(f"function_name: {explain(error)}") from error
    except BotoCoreError as error:
        raise CosmicError(explain(error)) from error


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


@contextmanager
def memory_kept(function_name: str) -> Iterator[None]:
    """Give the function back the memory that it had before, however the block ends.

    Raises:
        BadInput: there is no such function.
    """
    before = memory_of(function_name)
    try:
        yield
    finally:
        set_memory.fn(function_name, before)  # no task: a flow that is being cancelled starts none
