"""How a report shows the ranks of a run: as tables, over time, and by duration."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from inference.contract.counted import counted
from tasks.reporting.figures import Picture, rank_time_histogram
from tasks.reporting.formatting import seconds
from tasks.reporting.table import Column, Row, Table, as_text
from tasks.reporting.timeline import BARS, BY_WORKER, of_this_run, timeline
from tasks.run_results.failures import paths_of

ALL_RANKS = 60  # a table of up to so many ranks shows them all, a longer one the slowest and the first SOME_RANKS
SOME_RANKS = 20
COLUMNS = (
    Column("rank", "Rank", str),
    Column("state", "State", str, text=True),
    Column("data_path", "Partitions", as_text, text=True, wide=True),
    Column("samples", "Samples"),
    Column("wall_total_s", "Wall s", seconds),
    Column("wall_load_s", "Load s", seconds),
    Column("wall_read_s", "Read s", seconds),
    Column("wall_compute_s", "Compute s", seconds),
    Column("wall_write_s", "Write s", seconds),
    Column("cpu_total_s", "CPU s", seconds),
    Column("samples_per_s", "Samples/s"),
    Column("peak_rss_mb", "Peak MB"),
    Column("billed_s", "Billed s", seconds),
    Column("attempt", "Attempt"),
    Column("worker", "Worker", lambda worker: as_text(worker)[:8], text=True),
)
_CAPTION = (
    "Seconds are wall-clock by the worker's clock unless they say CPU, which counts all threads. Samples/s is over the"
    " rank's whole wall time. Peak MB is the highest resident memory of the process, in MB of 1,000,000 bytes. A cold"
    " rank was the first of its process; an earlier one was done before this run."
)


def plots_of_ranks(summary: Mapping[str, Any], ranks: pd.DataFrame) -> list[Picture]:
    """The ranks over time and by duration; none where no rank is done."""
    if not len(ranks):
        return []
    earlier = int(ranks["resumed"].sum())
    hidden = len(ranks) - len(of_this_run(ranks))
    return [
        Picture(
            timeline(ranks, summary.get("dispatched_at")),
            "A bar is a rank from its start to its end by the worker's clock, with the seconds of each stage laid one"
            " after the other (reading and computing really take turns). The space before it is the wait for a worker"
            f" and its start-up. Above {BY_WORKER} ranks a row is a worker."
            + f" Of more than {BARS:,} ranks, some rows stand for all." * (len(ranks) - hidden > BARS)
            + f" Not shown: {counted(hidden, 'rank')} that an earlier run had done." * (hidden > 0),
        ),
        Picture(
            rank_time_histogram(ranks),
            "Wall time of each rank. A cold rank was the first of its process and loaded the engine; the two kinds are"
            " never averaged together."
            + f" Counted too: {counted(earlier, 'rank')} that an earlier run had done."
            * (earlier > 0),
        ),
    ]


def tables_of_ranks(summary: Mapping[str, Any], ranks: pd.DataFrame) -> list[Table]:
    """All ranks, the failed ones first; of a long list the failed, the slowest and the first ones."""
    errors = {failure["rank"]: failure for failure in summary.get("failed_ranks") or []}
    lost = summary.get("missing_ranks") or []
    done = ranks.sort_values("rank")
    few = len(done) + len(lost) <= ALL_RANKS
    missing: list[Row] = [
        {"rank": rank, "state": "failed", "data_path": paths_of([errors.get(rank, {})]) or None}
        for rank in (lost if few else lost[:SOME_RANKS])
    ]
    if few:
        every = sorted(missing + _rows(done), key=lambda row: (row["state"] != "failed", row["rank"]))
        chosen = {f"All {counted(len(every), 'rank')}": every}
    else:
        slowest = done.sort_values("wall_total_s", ascending=False, kind="stable")
        chosen = {
            f"The first {SOME_RANKS} that failed" if len(lost) > SOME_RANKS else "Failed": missing,
            f"The slowest {SOME_RANKS}": _rows(slowest.head(SOME_RANKS)),
            f"The first {SOME_RANKS}": _rows(done.head(SOME_RANKS)),
        }
    columns = [column for column in COLUMNS if column.key in ranks or column.key == "state"]
    tables = [Table("ranks", title, columns, rows, "") for title, rows in chosen.items() if rows]
    caption = _CAPTION
    if len(tables) > 1:
        caption += f" combined_data.json beside this report has all {counted(len(done), 'rank')} that are done."
    return [*tables[:-1], *(replace(table, caption=caption) for table in tables[-1:])]


def _rows(ranks: pd.DataFrame) -> list[Row]:
    records = ranks.to_dict("records")
    return [{**{str(key): value for key, value in row.items()}, "state": _state(row)} for row in records]


def _state(row: Mapping[Any, Any]) -> str:
    return "earlier" if row["resumed"] else "cold" if row["cold"] else "warm"
