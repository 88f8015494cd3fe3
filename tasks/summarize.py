"""summarize: ranks found against ranks planned, and what the found ones add up to."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.ahead import read_ahead
from inference.combine import Gathered, gather, write_combined
from inference.errors import BadInput, StoreError
from inference.events import SCRIPT_ENGINE, RankEvent, RankResult
from inference.metrics import photoz_metrics
from inference.plan import Plan
from inference.predictions import decode
from inference.request import RunRequest
from inference.start import Start
from inference.store import Store
from tasks.artifacts import create_table_artifact
from tasks.clocks import on_one_clock
from tasks.ledger import Ledger
from tasks.photoz import intervals
from tasks.policy import STEP_RETRIES, exceeded, worth_retrying

SCHEMA = pa.schema(
    [
        ("rank", pa.int32()),
        ("file", pa.string()),
        ("index", pa.int64()),
        ("z_pred", pa.float32()),
        ("z_spec", pa.float64()),
        ("repeat", pa.bool_()),  # the object stands under an earlier rank already: its file is reused
    ]
)
_ROW_GROUP = 1 << 16  # rows, at least


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        document: the run's facts as JSON (`cosmic run --json`), the bill and the report's place still to come.
        results: of the finished ranks.
        ranks: a row a finished rank.
        predictions: a row an object, repeats left out: z_pred, and z_spec where it is known.
    """

    document: dict[str, Any]
    results: tuple[RankResult, ...]
    ranks: pd.DataFrame
    predictions: pd.DataFrame


def rank_table(results: Sequence[RankResult], resumed: Sequence[int] = ()) -> pd.DataFrame:
    """A row a rank: what it read, when and how long it ran, what it used."""
    columns = [field.name for field in dataclasses.fields(RankResult) if field.name != "script_record"]
    table = pd.DataFrame([[getattr(result, name) for name in columns] for result in results], columns=columns)
    table["data_path"] = [", ".join(result.data_paths) for result in results]
    table["samples_per_s"] = table["samples"] / table["wall_total_s"]
    table["resumed"] = table["rank"].isin(list(resumed))
    return table


def write_predictions(store: Store, bucket: str, results: Sequence[RankResult], key: str) -> pd.DataFrame:
    """Write one Parquet file with the redshifts of all ranks, in rank order, many small ranks to a row group.

    The ranks' files are read side by side and written as they come; what stays in memory is the return value.

    Returns:
        z_pred and z_spec of each object once: files that several ranks read count under the first.

    Raises:
        BadInput: a predictions file is broken.
        StoreError: it is missing, or the Parquet file cannot be written.
    """
    once: dict[str, list[np.ndarray]] = {"z_pred": [], "z_spec": []}
    with tempfile.TemporaryDirectory(prefix="cosmic-") as scratch:
        path = Path(scratch) / "predictions.parquet"
        with pq.ParquetWriter(path, SCHEMA) as writer:
            for table in _row_groups(_tables(store, bucket, results)):
                writer.write_table(table)
                counted = table.filter(pa.compute.invert(table["repeat"]))
                for name, parts in once.items():
                    parts.append(counted[name].to_numpy())
        store.write(bucket, key, path)
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in once.items()})


def _tables(store: Store, bucket: str, results: Sequence[RankResult]) -> Iterator[pa.Table]:
    """Each rank's redshifts as SCHEMA has them."""

    def read(result: RankResult) -> tuple[int, list[str], dict[str, np.ndarray]]:
        return result.rank, *decode(store.read(bucket, result.predictions_path), result.predictions_path)

    seen: set[str] = set()
    for rank, files, columns in read_ahead(read, results):
        new = np.array([file not in seen for file in files])
        seen.update(files)
        yield pa.table(
            {
                "rank": np.full(len(columns["index"]), rank, np.int32),
                "file": np.array(files, dtype=object)[columns["file"]],
                "index": columns["index"],
                "z_pred": columns["z_pred"],
                "z_spec": columns["z_spec"],
                "repeat": ~new[columns["file"]],
            },
            schema=SCHEMA,
        )


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Whole ranks together until they are worth a row group: its footer costs a reader and a writer 3 kB."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows >= _ROW_GROUP:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def describe(request: RunRequest, start: Start, found: Gathered, ledger: Ledger, run: dict[str, Any]) -> dict[str, Any]:
    """The run's document: what was planned, what was found, how fast it was by the wall clock.

    `makespan_s` is first rank start to last rank end by the workers' clocks, over the ranks that ran in this run;
    `throughput_bps` and `samples_per_s` are bits of model input and samples of those ranks over that time, and
    `throughput_bps_sum_of_ranks` adds up the ranks' own rates as if all had run at once, as the old report did.
    """
    plan: Plan = start.plan
    ran = [result for result in found.results if result.rank not in start.resumed]
    timed = ran or found.results
    makespan = max((r.ended_at for r in timed), default=0.0) - min((r.started_at for r in timed), default=0.0)
    paths = {event.rank: list(event.data_paths) for event in plan.events}
    failed = [
        {"rank": rank, "data_path": paths[rank], "error": error}
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
        "tolerated": bool(found.missing) and within and ledger.stopped is None,
        "stopped": ledger.stopped,
        "backups": ledger.backups(),
        "notes": [*plan.notes, *run.get("notes", ()), *ledger.notes()],
        "samples": sum(result.samples for result in found.results),
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


@task(
    name="summarize",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def summarize(request: RunRequest, start: Start, ledger: Ledger, store_root: str, run: dict[str, Any]) -> Summary:
    """Compare ranks found with ranks planned, combine what was found, compute photo-z metrics.

    An incomplete run's files are called `combined_data.partial.json` and `predictions.partial.parquet`, so that nobody
    takes them for the whole.

    Args:
        request: the checked request.
        start: the plan.
        ledger: what the executor saw, for the causes of failures.
        store_root: root of the store.
        run: facts that only the flow knows: run_id, executor, ...

    Raises:
        StoreError: the store cannot be read or written.
    """
    store = Store(store_root)
    found = gather(store, start.plan.events)
    results, notes = on_one_clock(found.results, ledger.invocations)
    told = run | {"notes": [*run.get("notes", ()), *notes]}
    document = describe(request, start, dataclasses.replace(found, results=results), ledger, told)
    part = ".partial" if found.missing else ""
    folder = request.result_path
    write_combined(store, request.bucket, folder, found)
    predictions = SCHEMA.empty_table().select(["z_pred", "z_spec"]).to_pandas()
    with_redshifts = [result for result in found.results if result.predictions_path]  # a script's have none
    if with_redshifts:
        key = f"{folder}/predictions{part}.parquet"
        try:
            predictions = write_predictions(store, request.bucket, with_redshifts, key)
        except BadInput as error:
            raise StoreError(f"{error}: remove the file, and the same request runs its rank anew") from None
    document["objects"] = len(predictions)
    z_pred, z_spec = (predictions[name].to_numpy() for name in ("z_pred", "z_spec"))
    document["metrics"] = photoz_metrics(z_pred, z_spec)
    document["metrics_intervals"] = intervals(z_pred, z_spec)
    ranks = rank_table(results, start.resumed)
    shown = [
        "rank",
        "data_path",
        "samples",
        "wall_total_s",
        "samples_per_s",
        "peak_rss_mb",
        "cold",
        "worker",
    ]
    create_table_artifact(
        [
            *({"state": "done"} | row for row in ranks[shown].head(1000).round(3).to_dict("records")),
            *({"state": "FAILED"} | failure for failure in document["failed_ranks"]),
        ],
        key="cosmic-ranks",
        description=f"{document['ranks_done']} of {document['ranks_planned']} ranks done",
    )
    return Summary(document, found.results, ranks, predictions)
