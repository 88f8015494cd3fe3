"""cosmic logs: what CloudWatch has of a run, by rank."""

import argparse

from flows.cli.options import add_aws_credentials, add_json, add_store, bucket_and_path
from flows.cli.terminal import print_json, say
from inference.errors import BadInput
from inference.storage.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("result_path", metavar="RESULT_PATH", help="bucket/result_path")
    parser.add_argument("--rank", type=int, metavar="N", help="of this rank only")
    parser.add_argument("--function-name", metavar="NAME", help="default the run's own")
    add_store(parser, default="s3://")
    add_aws_credentials(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Find the run's invocations, print their lines."""
    from inference.runs.plan import read_request
    from tasks.aws.logs import lines_of
    from tasks.invocations.stored import load_invocations
    from tasks.prefect_support.aws_credentials import credentials

    bucket, path = bucket_and_path(args.result_path)
    with credentials(args.aws_credentials):
        store = Store(args.store)
        calls = [call for call in load_invocations(store, bucket, path) if args.rank in (None, call.rank)]
        if not calls:
            raise BadInput(f"--rank: no invocation of rank {args.rank} is known under {args.result_path}")
        calls.sort(key=lambda call: (call.rank, call.attempt, call.started_at))
        function = args.function_name or read_request(store, bucket, path).function_name
        wanted = {call.request_id for call in calls if call.request_id}
        since, until = min(call.started_at for call in calls), max(call.ended_at for call in calls)
        lines = lines_of(function, wanted, since, until)
    if args.json:
        rows = [
            {"rank": call.rank, "attempt": call.attempt, "request_id": call.request_id, "error": call.error}
            | {"lines": lines.get(call.request_id, [])}
            for call in calls
        ]
        print_json({"result_path": args.result_path, "function": function, "invocations": rows})
        return 0
    for call in calls:
        title = f"rank {call.rank}, attempt {call.attempt}" + (
            f", request {call.request_id}" if call.request_id else ""
        )
        say(f"── {title}", "bold")
        for line in lines.get(call.request_id, []):
            say(line)
        if not lines.get(call.request_id):
            say("CloudWatch has no lines of it (a local run, or the log's retention is over)", "dim")
        if call.error:
            say(f"failed: {call.error}", "red")
    return 0
