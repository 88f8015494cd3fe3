"""summarize: ranks found are compared with ranks planned, and combined."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from inference.contract.counted import counted
from inference.contract.object_keys import calibration_key
from inference.contract.run_request import RunRequest
from inference.engines.columns import OUT_OF_DOMAIN
from inference.errors import BadInput, StoreError
from inference.rank_results.gather import gather, write_combined
from inference.runs.begin import Start
from inference.storage.store import Store
from tasks.invocations.clock_skew import correct_clock_skew
from tasks.invocations.ledger import Ledger
from tasks.photoz.metric_intervals import intervals
from tasks.photoz.metrics import photoz_metrics
from tasks.photoz.scores import has_intervals, interval_scores
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import step
from tasks.run_results.calibration_notes import calibration_notes
from tasks.run_results.predictions_table import SCHEMA, write_predictions
from tasks.run_results.summary import Summary, describe, rank_table
from tasks.run_results.worst_objects import WorstObjects
from tasks.staging.weights import stored_calibration

_SHOWN = 1000  # ranks of a kind in the UI's table


@step("summarize")
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
    results, notes = correct_clock_skew(found.results, ledger.invocations)
    facts = run | {"notes": [*run.get("notes", ()), *notes]}
    document = describe(request, start, dataclasses.replace(found, results=results), ledger, facts)
    part = ".partial" if found.missing else ""
    write_combined(store, request.bucket, start.folder, found)
    predictions = SCHEMA.empty_table().select(["z_pred", "z_spec", "mag_r"]).to_pandas()
    model = start.plan.events[0]
    calibration, worst = None, WorstObjects()
    with_redshifts = [result for result in found.results if result.predictions_path]  # a script's have none
    if with_redshifts:
        key = f"{start.folder}/predictions{part}.parquet"
        try:
            if model.model:
                calibration = stored_calibration(store, request.bucket, model.model, model.model_sha256)
            predictions = write_predictions(store, request.bucket, with_redshifts, key, calibration, worst)
        except BadInput as error:
            raise StoreError(f"{error}: remove the file, and run the same request again") from None
    document["objects"] = len(predictions)
    z_pred, z_spec = (predictions[name].to_numpy() for name in ("z_pred", "z_spec"))
    flags = predictions.get(OUT_OF_DOMAIN)
    document["out_of_domain"] = None if flags is None else int(flags.sum())
    document["worst_objects"] = worst.to_list()
    document["metrics"] = photoz_metrics(z_pred, z_spec)
    document["metrics_intervals"] = intervals(z_pred, z_spec)
    if calibration is not None and model.model:
        document["calibration"] = {"key": calibration_key(model.model), "sha256": calibration.sha256}
        document["calibration"] |= {"made": dict(calibration.made)}
        document["interval_scores"] = interval_scores(predictions, calibration) if has_intervals(predictions) else None
        outside = int(predictions["z_err68_low"].isna().sum())
        document["notes"] += calibration_notes(calibration, request.document(), outside)
    ranks = rank_table(results, start.resumed)
    create_table_artifact(
        rows_of_ranks(document["failed_ranks"], ranks.head(_SHOWN).round(3).to_dict("records")),
        key="cosmic-ranks",
        description=f"{document['ranks_done']} of {document['ranks_planned']} ranks done",
    )
    of_ranks = f"{document['ranks_done']:,} of {counted(document['ranks_planned'], 'rank')}"
    did(f"{of_ranks} combined, {counted(document['samples'], 'galaxy')}")
    return Summary(document, list(found.results), ranks, predictions, calibration)


def rows_of_ranks(failed: Sequence[Mapping[str, Any]], done: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """The ranks as the UI shows them, the failed first with their causes; it takes its columns from the first row."""
    figures = ("samples", "wall_total_s", "samples_per_s", "peak_rss_mb", "cold", "worker")
    named = [
        *({"state": "FAILED", **rank, "data_path": ", ".join(rank["data_path"])} for rank in failed[:_SHOWN]),
        *({"state": "done", **rank} for rank in done),
    ]
    columns = ("state", "rank", "data_path", *(("error",) if failed else ()), *figures)
    return [{column: row.get(column, "") for column in columns} for row in named]
