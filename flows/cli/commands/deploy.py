"""cosmic deploy: functions, state machine, roles and logs, from one template."""

import argparse
import os

from rich.table import Table

from flows.cli.options import add_aws_credentials, add_json
from flows.cli.terminal import print_json, say, show_table
from inference.contract.object_keys import checked_bucket
from inference.errors import BadInput

# Options that are the template's parameters, with their defaults there.
PARAMETERS = {
    "memory": ("ExecutorMemory", "MB of the executor function (default 10240)"),
    "timeout": ("ExecutorTimeout", "seconds that a rank may take (default 900)"),
    "reserved-concurrency": ("ReservedConcurrency", "ranks at once at most, kept free for the function (default none)"),
    "map-concurrency": ("MapConcurrency", "ranks at once in the state machine (default: a request's max_concurrency)"),
    "tolerated-failure-percentage": ("ToleratedFailurePercentage", "share of ranks that may fail (default 0)"),
    "run-timeout": ("RunTimeout", "seconds that an execution may take (default 3600)"),
    "log-retention": ("LogRetention", "days (default 30)"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--bucket", required=True, metavar="NAME", help="for all that a run reads and writes; made unless it exists"
    )
    parser.add_argument("--data-bucket", default="", metavar="NAME", help="another bucket of partitions, only read")
    parser.add_argument(
        "--stack-name",
        default="cosmic-flows",
        metavar="NAME",
        help="another one gets functions and state machine of its own (default %(default)s)",
    )
    parser.add_argument(
        "--kms-key", default="", metavar="ARN", help="KMS key of the buckets, which the functions' roles then may use"
    )
    parser.add_argument("--log-kms-key", default="", metavar="ARN", help="KMS key of the logs")
    parser.add_argument("--access-log-bucket", default="", metavar="NAME", help="for the access log of a new bucket")
    parser.add_argument("--endpoint-url", metavar="URL", help="of an emulator")
    parser.add_argument(
        "--image-uri", default="", metavar="URI", help="container image of the functions, in place of a zip file"
    )
    parser.add_argument("--architecture", choices=("x86_64", "arm64"), default="x86_64", help="default %(default)s")
    parser.add_argument(
        "--child-type",
        choices=("STANDARD", "EXPRESS"),
        default="STANDARD",
        help="of the map's children; EXPRESS ends at five minutes (default %(default)s)",
    )
    for option, (_, what) in PARAMETERS.items():
        parser.add_argument(f"--{option}", type=int, metavar="N", help=what)
    add_aws_credentials(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Package, deploy, show."""
    from tasks.aws.stack import install
    from tasks.aws.stack_names import checked_stack
    from tasks.prefect_support.aws_credentials import credentials

    checked_stack(args.stack_name)
    checked_bucket(args.bucket, "--bucket")
    if args.data_bucket:
        checked_bucket(args.data_bucket, "--data-bucket")
    given = {name: getattr(args, option.replace("-", "_")) for option, (name, _) in PARAMETERS.items()}
    for (option, _), value in zip(PARAMETERS.items(), given.values(), strict=True):
        if value is not None and value < 0:
            raise BadInput(f"--{option} must not be negative: {value}")
    parameters = {name: str(value) for name, value in given.items() if value is not None}
    parameters |= {"ChildType": args.child_type, "DataBucketName": args.data_bucket, "KmsKeyArn": args.kms_key}
    parameters |= {"LogKmsKeyArn": args.log_kms_key, "AccessLogBucket": args.access_log_bucket}
    if args.endpoint_url:
        os.environ["AWS_ENDPOINT_URL"] = args.endpoint_url
    with credentials(args.aws_credentials):
        deployed = install(
            args.stack_name,
            args.bucket,
            parameters,
            architecture=args.architecture,
            image=args.image_uri,
            show=lambda line: say(line, "dim", stderr=True),
        )
    if args.json:
        print_json({"stack": args.stack_name, "changed": deployed.changed, "outputs": dict(deployed.outputs)})
        return 0
    state = "deployed" if deployed.changed else "nothing to change"
    table = Table(title=f"stack {args.stack_name}: {state}")
    table.add_column("what")
    table.add_column("name", overflow="fold")
    for name, value in deployed.outputs.items():
        table.add_row(name, value)
    show_table(table)
    return 0
