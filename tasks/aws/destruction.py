"""Removing a stack: first what would go, then, once a person agrees, that and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from inference.contract.counted import counted, listed
from inference.errors import BadInput
from tasks.aws.buckets import BucketContent, content_of, delete_bucket, empty, owner_of
from tasks.aws.session import client, explain
from tasks.aws.stack import await_stack, code_folder, describe_stack, events_of_stack, stack_parameters
from tasks.reporting.formatting import file_size


@dataclass(frozen=True)
class Removal:
    """What `remove` deletes.

    Attributes:
        stack: name of the stack; `resources` how many it has.
        code: the stack's part of the code bucket; None where an image was deployed.
        data: content of the data bucket; None where it is kept.
        kept: the bucket that is kept, with the reason; "" where none is.
    """

    stack: str
    resources: int
    code: BucketContent | None
    data: BucketContent | None
    kept: str

    def lines(self) -> list[str]:
        """The removal as a person reads it before agreeing, one line for each part."""
        lines = [f"stack {self.stack}: {self.resources} resources"]
        return lines + [f"bucket {_described(part)}" for part in (self.code, self.data) if part is not None]


def _described(part: BucketContent) -> str:
    place = f"{part.bucket}/{part.prefix}" if part.prefix else part.bucket
    folders = listed((f"{folder} {count:,}" for folder, count in part.folders), most=6)
    inside = f" ({folders})" if folders and not part.prefix else ""
    return f"{place}: {counted(part.versions, 'version')} of objects, {file_size(part.size)}{inside}"


def plan_removal(stack: str, *, with_data: bool) -> Removal:
    """Look at what a stack's removal would delete; nothing is changed.

    A bucket goes only if this stack made it: its tag says so, or the stack itself does.

    Raises:
        BadInput: there is no such stack, or it may not be looked at.
    """
    formation = client("cloudformation")
    try:
        there = describe_stack(formation, stack)
        if there is None:
            raise BadInput(f"there is no stack {stack}")
        given = stack_parameters(there)
        resources = formation.describe_stack_resources(StackName=stack)["StackResources"]
        bucket, code = given.get("BucketName", ""), given.get("CodeBucket", "none")
        is_ours = given.get("MakeBucket") == "yes" or owner_of(bucket) == stack
        kept = "" if with_data and is_ours else f"the bucket {bucket} is kept"
        if with_data and not is_ours:
            kept += f": the stack {stack} did not make it"
        elif kept:
            kept += "; with --with-data it goes, too" if is_ours else ""
        return Removal(
            stack=stack,
            resources=len(resources),
            code=None if code == "none" else content_of(code, code_folder(stack)),
            data=content_of(bucket) if with_data and is_ours else None,
            kept=kept,
        )
    except (ClientError, BotoCoreError) as error:
        raise BadInput(explain(error)) from None


def remove(removal: Removal, show: Callable[[str], None] = lambda line: None) -> None:
    """Delete the stack's code, if planned its data, and last the stack, by which the same command finds the others.

    Args:
        removal: what `plan_removal` found and a person agreed to.
        show: called with a line for each thing that happens.

    Raises:
        BadInput: AWS refuses, before or on the way.
        DeployFailed: CloudFormation cannot delete the stack.
    """
    formation = client("cloudformation")
    try:
        if removal.code is not None:
            show(f"removing code from {removal.code.bucket}")
            empty(removal.code.bucket, removal.code.prefix)
            delete_bucket(removal.code.bucket)  # which stays as long as another stack's code lies there
        if removal.data is not None:
            show(f"emptying bucket {removal.data.bucket}")
            empty(removal.data.bucket)
            if not delete_bucket(removal.data.bucket):
                raise BadInput(f"the bucket {removal.data.bucket} was written to meanwhile and is kept: try again")
        there = describe_stack(formation, removal.stack)
        if there is not None:
            old = events_of_stack(formation, there["StackId"])
            formation.delete_stack(StackName=removal.stack)
            await_stack(formation, there["StackId"], old, show)
    except (ClientError, BotoCoreError) as error:
        raise BadInput(explain(error)) from None
