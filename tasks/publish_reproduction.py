"""publish_reproduction: the page of a reproduction as a step."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.contract.counted import counted
from inference.storage.atomic_write import atomic_write
from tasks.prefect_support.artifacts import create_markdown_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import step
from tasks.reproduction.page import markdown, render_reproduction, sections_of

DOCUMENT, PAGE = "reproduction.json", "report.html"


@step("publish reproduction")
def publish_reproduction(
    scale: str, documents: Mapping[str, Mapping[str, Any]], elapsed_s: float, folder: str
) -> dict[str, Any]:
    """Write the page and its numbers, and publish them.

    Returns:
        The document: `scale`, `elapsed_s`, `sweeps` and `page`.

    Raises:
        StoreError: the folder cannot be written.
    """
    place = Path(folder).resolve()
    document = {"scale": scale, "elapsed_s": elapsed_s, "sweeps": dict(documents), "page": str(place / PAGE)}
    with atomic_write(place / DOCUMENT) as partial:  # first: what took long is kept, whatever the page does
        partial.write_text(json.dumps(document, indent=1, default=str) + "\n")
    sections = sections_of(scale, documents)
    with atomic_write(place / PAGE) as partial:
        partial.write_text(render_reproduction(document, sections))
    create_markdown_artifact(markdown(sections), key="reproduction", description=f"The class report, at scale {scale}")
    did(f"{counted(len(documents), 'sweep')} on one page with {counted(len(sections), 'section')}")
    return document
