"""Which ranks of a run are missing or failed, and why: what its report and the terminal say first."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inference.contract.counted import counted, listed
from inference.errors import ranks_missing
from tasks.reporting.formatting import spans


class Failures(NamedTuple):
    """How many ranks are missing or failed, and each cause as (which ranks, why, which partitions)."""

    title: str
    causes: list[tuple[str, str, str]]


def failures_of(summary: Mapping[str, Any]) -> Failures | None:
    """The failures of a run's document; None where every rank is done."""
    missing, failed = summary.get("missing_ranks") or [], summary.get("failed_ranks") or []
    if not missing and not failed:
        return None
    causes: dict[str, list[Mapping[str, Any]]] = {}
    for failure in failed:
        causes.setdefault(str(failure["error"]), []).append(failure)
    explained = {failure["rank"] for failure in failed}
    for rank in missing:
        if rank not in explained:
            causes.setdefault("there is no result, and no error is known", []).append({"rank": rank})
    planned = summary["ranks_planned"]
    head = "NOT WHOLE, as tolerated" if summary.get("tolerated") else "INCOMPLETE"
    if summary.get("stopped"):
        head = f"STOPPED, {summary['stopped']}"
    return Failures(
        f"{head}: {ranks_missing(len(missing), planned)}"
        if missing
        else f"{len(failed):,} of {counted(planned, 'rank')} failed",
        [
            (f"Rank{'s' * (len(hits) > 1)} {spans([hit['rank'] for hit in hits])}", error, paths_of(hits))
            for error, hits in causes.items()
        ],
    )


def paths_of(failures: Sequence[Mapping[str, Any]]) -> str:
    """The partitions of failed ranks, the first few by name."""
    lists = [failure.get("data_path") or [] for failure in failures]
    paths = [path for some in lists for path in ([some] if isinstance(some, str) else some)]
    return listed(paths, most=5)
