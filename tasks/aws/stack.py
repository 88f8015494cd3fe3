"""Installing the stack: upload the code, call CloudFormation, wait for its answer."""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from inference.errors import BadInput, CosmicError
from tasks.aws.buckets import is_there, make_bucket, mark_owner
from tasks.aws.emulator import is_emulated
from tasks.aws.function_package import build, zip_package
from tasks.aws.kms import check_key
from tasks.aws.session import client, explain, store_host
from tasks.aws.stack_names import STACK, name_prefix
from tasks.reporting.formatting import file_size

PLACE = Path(__file__).parents[2] / "deployments" / "aws"
_SETTLED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}
_NEVER_MADE = {"ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"}
_FIRST_LOOK_S, _SLOWEST_LOOK_S = 0.2, 5.0


class DeployFailed(CosmicError):
    """CloudFormation rolled the stack back; the message is the first resource's own reason."""


@dataclass(frozen=True)
class Deployed:
    """A stack as it stands.

    Attributes:
        outputs: names of functions, bucket and state machine.
        changed: whether this deployment changed anything.
    """

    outputs: Mapping[str, str]
    changed: bool


def install(
    stack: str,
    bucket: str,
    parameters: Mapping[str, str],
    *,
    architecture: str = "x86_64",
    image: str = "",
    show: Callable[[str], None] = lambda line: None,
) -> Deployed:
    """Package the functions, upload them, and create or update the stack.

    Args:
        stack: its name, which the names of its functions and state machine begin with (`tasks.aws.stack_names`).
        bucket: for scripts, models, partitions and results; the stack makes it unless it exists.
        parameters: of the template, besides those made from the other arguments.
        architecture: of the functions.
        image: container image of the functions; then no zip file is made.
        show: called with a line for each thing that happens.

    Raises:
        BadInput: something is wrong before anything is deployed.
        DeployFailed: the stack was rolled back.
    """
    s3 = client("s3")
    region = str(s3.meta.region_name)
    try:
        ours = _made_bucket(client("cloudformation"), stack, bucket)
        wanted = {"BucketName": bucket, "Architecture": architecture, "NamePrefix": name_prefix(stack), **parameters}
        if not is_emulated():
            wanted["StoreHost"] = store_host(region)
        for each in filter(None, (bucket, parameters.get("DataBucketName"))):
            check_key(each, parameters.get("KmsKeyArn", ""))
        wanted["MakeBucket"] = "yes" if ours or not is_there(s3, bucket) else "no"
        if image:
            wanted["ImageUri"] = image
        else:
            show("packaging the functions")
            # The emulator runs functions in this very interpreter, where the libraries are installed already.
            package = zip_package(None) if is_emulated() else build(PLACE, architecture)
            account = str(client("sts").get_caller_identity()["Account"])
            code = f"cosmic-flows-code-{account}-{region}"
            make_bucket(code)
            wanted |= {"CodeBucket": code, "CodeKey": put_code(package, code, account, stack)}
            show(f"uploaded {file_size(len(package))} of code to {code}")
        deployed = deploy(stack, wanted, show)
        if wanted["MakeBucket"] == "yes":
            mark_owner(bucket, stack)
        return deployed
    except (ClientError, BotoCoreError) as error:
        raise BadInput(explain(error)) from None


def code_folder(stack: str) -> str:
    """Where a stack's code lies in the code bucket, which all stacks of an account and region share."""
    return f"code/{stack}/"


def put_code(package: bytes, bucket: str, account: str, stack: str = STACK) -> str:
    """Upload the functions' zip file under a key of its content; return the key.

    The bucket's name can be guessed: code goes there only while it is this account's.
    """
    key = f"{code_folder(stack)}{hashlib.sha256(package).hexdigest()[:32]}.zip"
    client("s3").put_object(Bucket=bucket, Key=key, Body=package, ExpectedBucketOwner=account)
    return key


def deploy(stack: str, parameters: Mapping[str, str], show: Callable[[str], None] = lambda line: None) -> Deployed:
    """Create the stack, or bring it up to date, and wait.

    Args:
        stack: its name.
        parameters: of the template; those left out keep the template's default.
        show: called with a line for each resource as it changes.

    Raises:
        DeployFailed: the stack was rolled back.
        ClientError: CloudFormation does not take the template or the parameters, or may not be called.
    """
    formation = client("cloudformation")
    words = {
        "StackName": stack,
        "TemplateBody": (PLACE / "stack.yaml").read_text(),
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }
    there = _at_rest(formation, stack, show)
    if there is not None and there["StackStatus"] in _NEVER_MADE:
        old = events_of_stack(formation, there["StackId"])
        formation.delete_stack(StackName=stack)  # a stack whose first creation failed cannot be updated
        await_stack(formation, there["StackId"], old, show)
        there = None
    old = events_of_stack(formation, there["StackId"]) if there else []
    try:
        made = formation.update_stack(**words) if there else formation.create_stack(**words, OnFailure="ROLLBACK")
        name = made["StackId"]
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return Deployed(_outputs(formation, stack), changed=False)
        if error.response["Error"]["Code"] == "AlreadyExistsException" or "IN_PROGRESS" in str(error):
            return deploy(stack, parameters, show)  # another deployment began at the same moment
        raise
    await_stack(formation, name, old, show)
    return Deployed(_outputs(formation, stack), changed=True)


def _at_rest(formation: Any, stack: str, show: Callable[[str], None]) -> dict[str, Any] | None:
    """The stack once nobody changes it: another deployment, or one that was killed, may have begun a change."""
    there = describe_stack(formation, stack)
    if there is None or not _is_changing(there["StackStatus"]):
        return there
    show(f"the stack {stack} is being changed already ({there['StackStatus']}): waiting for the end of that")
    with suppress(DeployFailed):  # what came of it is looked at next
        await_stack(formation, there["StackId"], events_of_stack(formation, there["StackId"]), show)
    return describe_stack(formation, stack)


def _is_changing(status: str) -> bool:
    return status.endswith("IN_PROGRESS") and status not in _NEVER_MADE


def _made_bucket(formation: Any, stack: str, bucket: str) -> bool:
    there = describe_stack(formation, stack)
    if there is None or there["StackStatus"] in _NEVER_MADE:
        return False
    given = stack_parameters(there)
    return (given.get("MakeBucket"), given.get("BucketName")) == ("yes", bucket)


def stack_parameters(description: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a stack as CloudFormation describes it."""
    return {each["ParameterKey"]: each["ParameterValue"] for each in description.get("Parameters", [])}


def describe_stack(formation: Any, stack: str) -> dict[str, Any] | None:
    """CloudFormation's description of the stack; None where there is none."""
    try:
        found: list[dict[str, Any]] = formation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return found[0] if found and found[0]["StackStatus"] != "DELETE_COMPLETE" else None


def _outputs(formation: Any, stack: str) -> dict[str, str]:
    there = describe_stack(formation, stack) or {}
    return {output["OutputKey"]: output["OutputValue"] for output in there.get("Outputs", [])}


def events_of_stack(formation: Any, stack_id: str) -> list[dict[str, Any]]:
    """The newest events, oldest of them first; looked at often enough for one page to hold all that are new."""
    return list(reversed(formation.describe_stack_events(StackName=stack_id)["StackEvents"]))


def await_stack(formation: Any, stack_id: str, old: list[dict[str, Any]], show: Callable[[str], None]) -> None:
    """Wait for a stack to settle; show each event that is not an old one."""
    seen = {event["EventId"] for event in old}
    failed: list[str] = []
    pause = _FIRST_LOOK_S
    while True:
        status = str(formation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])
        for event in events_of_stack(formation, stack_id):
            if event["EventId"] in seen:
                continue
            seen.add(event["EventId"])
            show(f"{event['ResourceStatus']:<22} {event['LogicalResourceId']}")
            if event["ResourceStatus"].endswith("FAILED"):
                failed.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}")
        if status in _SETTLED:
            return
        if not _is_changing(status):
            raise DeployFailed(f"CloudFormation ended {status}: {failed[0] if failed else 'no reason given'}")
        time.sleep(pause)
        pause = min(pause * 1.5, _SLOWEST_LOOK_S)
