"""Partitions as steps: those of a request, and those that somebody cuts from a file."""

from collections.abc import Sequence
from typing import Any

from inference.contract.counted import counted
from inference.contract.run_request import PartitionRequest, RunRequest
from inference.storage.store import Store, StoredObject
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.progress import shown_bar
from tasks.prefect_support.step import making_step
from tasks.reporting.formatting import file_size, plain
from tasks.survey.making import Made, cut_file
from tasks.survey.partitions import make_partitions

_SHOWN = 1000  # rows of a table in the UI


@making_step("partition data set")
def partition_dataset(
    request: RunRequest, wanted: PartitionRequest, store_root: str, run_id: str
) -> list[StoredObject]:
    """`make_partitions` as a step of a run; publishes how they came out, and returns them."""
    written = make_partitions(request, wanted, Store(store_root), run_id)
    _publish(written, f"{request.data_bucket}/{request.data_prefix}/")
    did(f"{counted(len(written), 'partition')} written, {file_size(sum(stored.size for stored in written))}")
    return written


@making_step("cut survey")
def cut_survey(source: str, to: str, size: str | int, format: str, options: dict[str, Any]) -> Made:  # noqa: A002
    """`tasks.survey.making.cut_file` as a step; publishes how the partitions came out."""
    made = cut_file(source, to, size, format, draw=shown_bar, **options)
    publish_made(made)
    return made


def publish_made(made: Made) -> None:
    """Publish which partitions were made and what was left out, as the last thing that a step does."""
    _publish(made.partitions, made.to)
    if made.skipped:
        create_table_artifact(
            [{"row": row, "why": why} for row, why in made.skipped[:_SHOWN]],
            key="cosmic-skipped",
            description=f"{counted(len(made.skipped), 'row')} left out, all named in {plain(made.skipped_in)}",
        )
    partitions = f"{counted(len(made.partitions), 'partition')} of {file_size(made.size)}"
    did(f"{counted(made.galaxies, 'galaxy')} in {partitions}, {len(made.skipped):,} left out")


def _publish(written: Sequence[StoredObject], where: str) -> None:
    create_table_artifact(
        [{"partition": stored.key, "MB": round(stored.size / 1e6, 2)} for stored in written[:_SHOWN]],
        key="cosmic-partitions",
        description=f"{counted(len(written), 'partition')} in {plain(where)}",
    )
