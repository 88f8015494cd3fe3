"""How long the runs of a sweep took so far, and by that those to come."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from tasks.reporting.formatting import duration


class RunTimes:
    """Times of a sweep's runs, from end to end."""

    def __init__(self) -> None:
        self._by_cell: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def of(self, cell: str) -> Iterator[None]:
        """Note how long a run of a cell takes, also one that fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._by_cell[cell].append(time.monotonic() - began)

    def left(self, cells: Sequence[str]) -> str:
        """How long the rest of the sweep is expected to take, as a clause; empty before anything is known.

        Args:
            cells: of the runs to come, a name a run; one that has not run yet counts as the mean of all runs.
        """
        if not self._by_cell:
            return ""
        overall = fmean(seconds for times in self._by_cell.values() for seconds in times)
        left = sum(fmean(self._by_cell[cell]) if cell in self._by_cell else overall for cell in cells)
        return f"; about {duration(left)} of this sweep left"
