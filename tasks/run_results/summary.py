"""A run's summary: what was planned, what was found, and how fast it was by the wall clock."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.run_request import RunRequest
from inference.contract.script import SCRIPT_ENGINE
from inference.contract.tolerance import exceeded
from inference.rank_results.gather import Gathered
from inference.runs.begin import Start
from inference.runs.plan import Plan
from tasks.invocations.ledger import Ledger
from tasks.photoz.calibration import Calibration


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        document: the run's facts as JSON (`cosmic run --json`), the bill and the report's place still to come.
        results: of the finished ranks, for the bill; a run forgets them before it draws its report.
        ranks: one row for each finished rank.
        predictions: a row for each object, repeats left out: z_pred, z_spec and the magnitude (NaN where unknown), and
            the ends of the intervals where the model has a calibration.
        calibration: of the model, None where it has none.
    """

    document: dict[str, Any]
    results: list[RankResult]
    ranks: pd.DataFrame
    predictions: pd.DataFrame
    calibration: Calibration | None = None


def rank_table(results: Sequence[RankResult], resumed: Sequence[int] = ()) -> pd.DataFrame:
    """A row a rank: what it read, when and how long it ran, what it used."""
    # Column by column: rows of a hundred thousand ranks would take several times the table's own memory.
    columns = [field.name for field in dataclasses.fields(RankResult) if field.name not in _NO_COLUMN]
    table = pd.DataFrame({name: pd.Series([getattr(result, name) for result in results]) for name in columns})
    table["data_path"] = pd.Series([", ".join(result.data_paths) for result in results], dtype=object)
    table["samples_per_s"] = table["samples"] / table["wall_total_s"]
    table["resumed"] = table["rank"].isin(list(resumed))
    return table


_NO_COLUMN = {"fingerprint", "result_path", "predictions_path", "script_record"}


def describe(request: RunRequest, start: Start, found: Gathered, ledger: Ledger, run: dict[str, Any]) -> dict[str, Any]:
    """The run's document: what was planned, what was found, how fast it was by the wall clock.

    `dispatched_at` is when ranks began to be handed out, by this machine's clock, seconds since the epoch.
    `makespan_s` is first rank start to last rank end by the workers' clocks, over the ranks that ran in this run;
    `throughput_bps` and `samples_per_s` are bits of model input and samples of those ranks over that time, and
    `throughput_bps_sum_of_ranks` adds up the ranks' own rates as if all had run at once, as the old report did.
    """
    plan: Plan = start.plan
    resumed = frozenset(start.resumed)
    ran = [result for result in found.results if result.rank not in resumed]
    timed = ran or found.results
    makespan = max((r.ended_at for r in timed), default=0.0) - min((r.started_at for r in timed), default=0.0)
    paths = {event.rank: list(event.data_paths) for event in plan.events}
    failed = [
        {"rank": rank, "data_path": paths[rank], "error": error.removeprefix(f"rank {rank}: ")}
        for rank in found.missing
        if (error := ledger.last_error(rank)) is not None
    ]
    rate = 1.0 / makespan if makespan > 0 else None
    percentage, count = request.tolerated_failure_percentage, request.tolerated_failure_count
    limited = percentage is not None or count is not None
    within = limited and exceeded(len(found.missing), plan.world_size, percentage, count) is None
    return {
        **run,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": request.document(),
        "result_path": f"{request.bucket}/{request.result_path}",
        **_what(request, plan.events[0]),
        "world_size": plan.world_size,
        "ranks_planned": plan.world_size,
        "ranks_done": len(found.results),
        "ranks_resumed": len(start.resumed),
        "missing_ranks": list(found.missing),
        "failed_ranks": failed,
        "tolerated": bool(found.missing) and within and ledger.stop_reason is None,
        "stopped": ledger.stop_reason,
        "backups": ledger.backups(),
        "notes": [*plan.notes, *run.get("notes", ()), *ledger.notes()],
        "samples": sum(result.samples for result in found.results),
        "dispatched_at": ledger.dispatched_at if ran else None,
        "makespan_s": makespan if timed else None,
        "samples_per_s": rate and rate * sum(result.samples for result in timed),
        "throughput_bps": rate and rate * sum(result.bits for result in timed),
        "throughput_bps_sum_of_ranks": sum(r.bits / max(r.wall_loop_s, 1e-9) for r in timed),
        "precision_error": max((result.precision_error for result in found.results), default=0.0),
        "cold_ranks": sum(result.cold for result in timed),
    }


def _what(request: RunRequest, event: RankEvent) -> dict[str, Any]:
    """What the ranks ran: the built-in engine with a model, or a script."""
    if event.script is not None:
        script = {"key": event.script.key, "sha256": event.script.sha256}
        return {"engine": SCRIPT_ENGINE, "precision": None, "model": None, "script": script}
    model = {"key": event.model, "sha256": event.model_sha256}
    return {"engine": request.engine, "precision": request.precision, "model": model, "script": None}
