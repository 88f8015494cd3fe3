"""How far a step is, for the terminal and for the Prefect UI at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from tasks.prefect_support.artifacts import create_progress_artifact, update_progress_artifact
from tasks.reporting.terminal import bar


class ProgressArtifact:
    """How many of something are done, for the UI: brought up to date every few seconds, and at the end."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        made = create_progress_artifact(0.0, key="cosmic-progress", description=f"{total:,} {what}")
        self._artifact = cast(UUID, made)
        self._shown_at = time.monotonic()

    def refresh(self, done: int, every_s: float = 3.0) -> None:
        """Show how many are done, unless that was done a moment ago."""
        if time.monotonic() - self._shown_at >= every_s:
            description = f"{done:,} of {self._total:,} {self._what} done"
            update_progress_artifact(self._artifact, 100.0 * done / max(self._total, 1), description=description)
            self._shown_at = time.monotonic()


@contextmanager
def shown_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """`tasks.reporting.terminal.bar`, with a progress artifact beside it."""
    artifact = ProgressArtifact(what, total)
    last = 0
    with bar(what, total) as show:

        def both(done: int) -> None:
            nonlocal last
            last = done
            show(done)
            artifact.refresh(done)

        try:
            yield both
        finally:
            artifact.refresh(last, every_s=0.0)
