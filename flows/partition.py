"""The partitioning: a survey in one file into numbered partitions."""

from typing import Any

from prefect import flow

from flows.parameters import data_path
from inference.contract.counted import counted
from tasks.partition import cut_survey
from tasks.prefect_support.assets import file_asset, making, stored_asset
from tasks.prefect_support.last_line import did
from tasks.prefect_support.tags import tag_flow_run
from tasks.survey.making import Made, target_of


@flow(name="partition", flow_run_name="partition {to}", validate_parameters=False)
def partition(
    source: str,
    to: str,
    size: str | int = "25MB",
    format: str = "pt",  # noqa: A002 - the option's name
    arrays: dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
    pixels: dict[str, Any] | None = None,
    skip_bad: bool = False,
) -> Made:
    """Cut a survey in one file into partitions.

    Args:
        source: .pt, .safetensors, .npz, HDF5 or Parquet.
        to: an empty folder, or s3://bucket/prefix.
        size: of a partition, as "25MB", or galaxies.
        format: `pt` or `safetensors`.
        arrays: names of the arrays that are images, magnitudes and redshifts.
        columns: names of columns (`tasks.survey.columns.ColumnOptions`).
        pixels: what is known of the images (`tasks.survey.cutouts.PixelOptions`).
        skip_bad: leave out galaxies that cannot be used, and list them beside the partitions.

    Returns:
        What was made.

    Raises:
        BadInput: source, options or target are not as they must be; nothing was written.
        StoreError: the target cannot be written.
    """
    tag_flow_run("partition")
    source, to = data_path("source", source), data_path("to", to)
    target = target_of(to)
    step = making(cut_survey, [stored_asset(target.store, target.bucket, target.prefix)], [file_asset(source)])
    options = {"arrays": arrays, "columns": columns, "pixels": pixels, "skip_bad": skip_bad}
    made = step(source, to, size, format, options)
    did(f"{counted(made.galaxies, 'galaxy')} in {counted(len(made.partitions), 'partition')}")
    return made
