"""All executions of a state machine as one table, its first columns those of the replaced system's log collector.

That one read a size, a run and a partition from the result path of each request (`result-partition-100MB/1GB/1`,
`.../1GB/Batches/32/run 1`), by place; so does this, and where a path has fewer parts, or no size there, the cells stay
empty.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from inference.errors import BadInput
from tasks.aws.execution import describe_execution, execution_events
from tasks.aws.execution_history import History, parsed
from tasks.reporting.formatting import DASH, seconds
from tasks.reporting.table import Column, Row, Table, as_text

_READERS = 8
_PAGE = 1000
_SIZE = re.compile(r"\d+(\.\d+)? ?[kMGT]B|total")
_WHOLE = "12.6GB"  # what the replaced system's paths call `total`
_COLUMNS = (
    Column("data (GB)", "Data", as_text, text=True),
    Column("batch_size", "Batch size", as_text),
    Column("run", "Run", as_text),
    Column("partition (MB)", "Partition", as_text, text=True),
    Column("total_duration (s)", "Total s", seconds),
    Column("inference_duration (s)", "Map s", seconds),
    Column("batch_varying", "Batches vary", as_text, detail=True),
    Column("result_path", "Result path", as_text, text=True),
    Column("status", "Status", as_text, text=True),
    Column("started_at", "Started (UTC)", as_text, text=True, detail=True),
    Column("execution", "Execution", as_text, text=True, detail=True),
)
_CAPTION = (
    "Total: from the execution's start to its end. Map: the state that runs the ranks. Data, run and partition are read"
    " from the request's result_path and data_prefix, as the replaced system's log collector did."
)


def executions_table(client: Any, machine_arn: str) -> Table:
    """Every execution of a machine that AWS still knows (it forgets one after 90 days), the newest first.

    Raises:
        BadInput: there is no such machine, it keeps no executions (EXPRESS), or a history is not as Step Functions
            writes it.
        ClientError: AWS refuses.
    """
    try:
        listed = list(_listed(client, machine_arn))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"StateMachineDoesNotExist", "InvalidArn", "ResourceNotFound"}:
            raise BadInput(f"there is no state machine {machine_arn}") from None
        if code == "StateMachineTypeNotSupported":
            raise BadInput(f"{machine_arn} is an EXPRESS machine, whose executions AWS does not list") from None
        raise
    with ThreadPoolExecutor(_READERS) as readers:
        rows = list(readers.map(lambda execution: _row(client, execution), listed))
    return Table("executions", f"executions of {machine_arn}", _COLUMNS, rows, _CAPTION)


def named_by_path(result_path: object) -> Row:
    """What a result path says of its run, by the places of its parts.

    >>> named_by_path("result-partition-100MB/1GB/run 2")
    {'data (GB)': '1GB', 'run': '2', 'batch_varying': False}
    >>> named_by_path("result-partition-25MB/2GB/Batches/32/1")
    {'data (GB)': '2GB', 'run': '1', 'batch_varying': True}
    >>> named_by_path("result-partition-25MB/total/1")["data (GB)"], named_by_path("mine")["data (GB)"]
    ('12.6GB', None)
    >>> named_by_path("results/filelimit-10_batchsize-128_prefix-50MB")["data (GB)"]
    """
    if not isinstance(result_path, str):
        return {"data (GB)": None, "run": None, "batch_varying": None}
    parts = result_path.strip("/").split("/")
    varying = "Batches" in parts
    place = 4 if varying else 2
    data = parts[-place] if len(parts) >= place and _SIZE.fullmatch(parts[-place]) else None
    run = parts[-1].replace("run ", "") if data else None
    return {"data (GB)": _WHOLE if data == "total" else data, "run": run, "batch_varying": varying}


def _listed(client: Any, machine_arn: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_executions").paginate(
        stateMachineArn=machine_arn, PaginationConfig={"PageSize": _PAGE}
    ):
        yield from page["executions"]


def _row(client: Any, listed: Mapping[str, Any]) -> Row:
    arn = listed["executionArn"]
    description = describe_execution(client, arn)
    request = parsed(description.get("input"))
    request = request if isinstance(request, Mapping) else {}
    phase = History(execution_events(client, arn)).map
    started, stopped = _at(description["startDate"]), description.get("stopDate")
    path = request.get("result_path")
    return {
        **named_by_path(path),
        "batch_size": request.get("batch_size"),
        "partition (MB)": request.get("data_prefix"),
        "total_duration (s)": round(_at(stopped).timestamp() - started.timestamp(), 3) if stopped else None,
        "inference_duration (s)": round(phase.seconds, 3) if phase and phase.seconds is not None else None,
        "result_path": path if isinstance(path, str) else None,
        "status": description["status"],
        "started_at": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "execution": listed.get("name", DASH),
    }


def _at(moment: datetime | float) -> datetime:
    return moment.astimezone(UTC) if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
