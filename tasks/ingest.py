"""ingest: cut-outs and a table into partitions, as a step."""

from typing import Any

from tasks.partition import publish_made
from tasks.prefect_support.progress import shown_bar
from tasks.prefect_support.step import making_step
from tasks.survey.making import Made, ingest_folder


@making_step("ingest cut-outs")
def ingest_survey(source: str, to: str, size: str | int, format: str, options: dict[str, Any]) -> Made:  # noqa: A002
    """`tasks.survey.making.ingest_folder` as a step; publishes how the partitions came out."""
    made = ingest_folder(source, to, size, format, draw=shown_bar, **options)
    publish_made(made)
    return made
