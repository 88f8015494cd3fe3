"""The ingest: FITS cut-outs and a table of magnitudes into numbered partitions."""

from typing import Any

from prefect import flow

from flows.parameters import data_path
from inference.contract.counted import counted
from tasks.ingest import ingest_survey
from tasks.prefect_support.assets import file_asset, making, stored_asset
from tasks.prefect_support.last_line import did
from tasks.prefect_support.tags import tag_flow_run
from tasks.survey.making import Made, target_of


@flow(name="ingest", flow_run_name="ingest {to}", validate_parameters=False)
def ingest(
    source: str,
    to: str,
    size: str | int = "25MB",
    format: str = "pt",  # noqa: A002 - the option's name
    table: str | None = None,
    columns: dict[str, Any] | None = None,
    pixels: dict[str, Any] | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
) -> Made:
    """Read cut-outs and the table of their objects into partitions.

    Args:
        source: a folder of cut-outs with their table, or the table.
        to: an empty folder, or s3://bucket/prefix.
        size: of a partition, as "25MB", or galaxies.
        format: `pt` or `safetensors`.
        table: the table, where it is not the only one in the folder.
        columns: names of columns (`tasks.survey.columns.ColumnOptions`).
        pixels: what is known of the images (`tasks.survey.cutouts.PixelOptions`).
        skip_bad: leave out rows that cannot be used, and list them beside the partitions.
        workers: processes; default one a core.

    Returns:
        What was made.

    Raises:
        BadInput: source, options or target are not as they must be; nothing was written.
        CosmicError: a worker process died.
        StoreError: the target cannot be written.
    """
    tag_flow_run("ingest")
    source, to = data_path("source", source), data_path("to", to)
    target = target_of(to)
    step = making(ingest_survey, [stored_asset(target.store, target.bucket, target.prefix)], [file_asset(source)])
    options = {"table": table, "columns": columns, "pixels": pixels, "skip_bad": skip_bad, "workers": workers}
    made = step(source, to, size, format, options)
    did(f"{counted(made.galaxies, 'galaxy')} in {counted(len(made.partitions), 'partition')}")
    return made
