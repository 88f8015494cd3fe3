"""The steps of a sweep: the function's memory set for a cell, and the report published."""

import base64
import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from inference.contract.counted import counted
from inference.errors import BadInput, CosmicError
from inference.storage.atomic_write import atomic_write
from inference.storage.store import Store
from tasks.aws.function_configuration import memory_of
from tasks.aws.session import client, explain
from tasks.prefect_support.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from tasks.prefect_support.last_line import did
from tasks.prefect_support.page_links import publish_link
from tasks.prefect_support.running_ui import address_of
from tasks.prefect_support.step import step
from tasks.reporting.formatting import file_size, plain
from tasks.reporting.table import Table
from tasks.sweeps.cells import Measurement, cells_of
from tasks.sweeps.plots import Plot, plots_of
from tasks.sweeps.report import (
    DOCUMENT,
    REPORT,
    describe_sweep,
    failed_runs,
    measured_on,
    render_sweep,
    tables_of_sweep,
)
from tasks.sweeps.sweep import Sweep


@step("set function memory", task_run_name="{function_name} gets {memory_mb} MB", retry_delay_seconds=2)
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
            did("the function had it already")
            return
        functions = client("lambda")
        functions.update_function_configuration(FunctionName=function_name, MemorySize=memory_mb)
        look = {"Delay": 1, "MaxAttempts": 300}  # a change takes about a second; botocore looks every five
        functions.get_waiter("function_updated").wait(FunctionName=function_name, WaiterConfig=look)
        did("the function has it")
    except WaiterError as error:
        raise CosmicError(f"{function_name} did not come to {memory_mb:,} MB of memory: {error}") from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceConflictException":
            raise CosmicError(f"{function_name} is being changed by somebody else") from error
        raise BadInput(f"function_name: {explain(error)}") from error
    except BotoCoreError as error:
        raise CosmicError(explain(error)) from error


@contextmanager
def memory_kept(function_name: str, store: Store, bucket: str, key: str, sizes: Collection[int]) -> Iterator[None]:
    """Give the function back the memory that it had before, however the block ends.

    Where this process is killed in the block, a note in the store still knows that memory, and the next block reads it.
    The block that wrote the note last gives the memory back: one that slept while another began leaves it to that one.

    Args:
        function_name: name or ARN.
        store: has the note while the block lasts.
        bucket: of the note.
        key: of the note.
        sizes: MB that the block may set: what a killed one left is one of them, and any other is somebody's wish.

    Raises:
        BadInput: there is no such function.
        StoreError: the note cannot be written.
    """
    before, noted = memory_of(function_name), store.read_json(bucket, key)
    match noted:
        case {"function": str(name), "memory_mb": int(left)} if name == function_name and before in sizes:
            before = left
    note = {"function": function_name, "memory_mb": before, "by": uuid.uuid4().hex}
    store.write(bucket, key, _json(note))
    try:
        yield
    finally:
        try:
            ours = store.read_json(bucket, key) == note
        except CosmicError:  # the note is damaged, or the store away: who can say that another one has begun?
            ours = True
        if ours:
            set_memory.fn(function_name, before)  # no task: a flow that is being cancelled starts none
            store.delete(bucket, [key])


@step("publish sweep")
def publish_sweep(
    sweep: Sweep, measured: Sequence[Measurement], store_root: str, results: str | None
) -> dict[str, Any]:
    """Write the sweep's tables, plots and report, and publish them as artifacts.

    Args:
        sweep: what was measured.
        measured: its runs, the failed ones too.
        store_root: root of the store; all is written to `sweeps/<name>/` in the sweep's bucket.
        results: a folder that gets the same files, or None.

    Returns:
        The sweep's document (`describe_sweep`), with `report`, the place of its page.

    Raises:
        StoreError: the store or the folder cannot be written.
    """
    cells = cells_of(measured)
    tables, plots = tables_of_sweep(cells), plots_of(cells)
    bucket, folder, store = str(sweep.request["bucket"]), f"sweeps/{sweep.name}", Store(store_root)
    path = store.local_path(bucket, f"{folder}/{REPORT}")
    document = describe_sweep(sweep.name, sweep.description, measured) | {
        "report": str(path) if path is not None else f"s3://{bucket}/{folder}/{REPORT}"
    }
    files = _files(document, tables, plots)
    for name, content in files.items():
        store.write(bucket, f"{folder}/{name}", content)
    if results is not None:
        _write_folder(Path(results), files)
    _publish(sweep.name, document, tables, plots, path)
    did(f"{counted(len(files), 'file')} written, {file_size(sum(map(len, files.values())))}")
    return document


def _files(document: dict[str, Any], tables: Sequence[Table], plots: Sequence[Plot]) -> dict[str, bytes]:
    files = {
        DOCUMENT: _json(document),
        REPORT: render_sweep(document, tables, plots).encode(),
        "findings.md": _markdown(document, tables).encode(),
    }
    for table in tables:
        files[f"tables/{table.name}.csv"] = table.to_csv().encode()
        files[f"tables/{table.name}.json"] = _json(table.to_dict())
    for plot in plots:
        files[f"plots/{plot.name}.svg"] = plot.svg.encode()
        files[f"plots/{plot.name}.png"] = plot.png
    return files


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, default=str) + "\n").encode()


def _markdown(document: dict[str, Any], tables: Sequence[Table]) -> str:
    parts = [f"# Sweep {plain(document['sweep'])}", plain(document["description"]), plain(measured_on(document))]
    parts += [f"- {plain(sentence)}" for sentence in document["findings"]]
    parts += [f"- FAILED {plain(which)}: {plain(why)}" for which, why in failed_runs(document)]
    parts += [f"## {table.title}\n\n{table.to_markdown()}" for table in tables]
    return "\n\n".join(part for part in parts if part) + "\n"


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        with atomic_write(folder / name) as partial:
            partial.write_bytes(content)


def _publish(
    name: str, document: dict[str, Any], tables: Sequence[Table], plots: Sequence[Plot], page: Path | None
) -> None:
    """Artifacts under keys that stay the same from night to night, so that the UI shows their history."""
    key = f"sweep-{name}"
    create_markdown_artifact(_markdown(document, tables), key=key, description=plain(document["description"] or name))
    for table in tables:
        create_table_artifact(
            table.to_artifact(),
            key=f"{key}-{table.name.replace('_', '-')}",
            description=f"{table.title}. {table.caption}",
        )
    for plot in plots:
        picture = f"data:image/png;base64,{base64.b64encode(plot.png).decode()}"
        create_image_artifact(picture, key=f"{key}-plot-{plot.name}", description=f"{plot.title}. {plot.caption}")
    if page is not None:
        publish_link(address_of(page), f"{key}-page", f"report of the sweep {name}", "the report as a page")
