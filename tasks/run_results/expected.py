"""What a run was expected to take, against what it took."""

from collections.abc import Mapping
from typing import Any

from inference.contract.validation import is_number
from tasks.reporting.formatting import number, usd
from tasks.reporting.page import Stat

FIGURES = {"makespan_s": "Makespan", "end_to_end_s": "End to end", "usd": "Bill"}
_ENDS = ("p50", "low", "high")


def actual_of(document: Mapping[str, Any]) -> dict[str, float | None]:
    """What a run came to, under the names that its prediction uses."""
    cost = document.get("cost") or {}
    return {"makespan_s": document.get("makespan_s"), "end_to_end_s": document.get("end_to_end_s")} | {
        "usd": cost.get("usd")
    }


def is_whole(document: Mapping[str, Any]) -> bool:
    """Whether every rank ran in this run and none is missing: only then it is what was predicted."""
    return not document.get("missing_ranks") and not document.get("ranks_resumed") and not document.get("stopped")


def expected_stats(document: Mapping[str, Any]) -> list[Stat]:
    """Makespan, end to end and bill as they came, each with what was expected and by how much it differs."""
    prediction = document.get("prediction") or {}
    stats = []
    for name, title in FIGURES.items():
        expected, actual = prediction.get(name), actual_of(document)[name]
        if not isinstance(expected, Mapping) or not all(is_number(expected.get(key), 0) for key in _ENDS):
            continue
        p50, low, high = (_shown(name, expected[key]) for key in _ENDS)
        how = f"expected {p50}, in nine of ten runs {low} to {high}"
        if actual is not None and is_whole(document) and expected["p50"] > 0:
            inside = "inside" if expected["low"] <= actual <= expected["high"] else "outside"
            how += f"; the prediction was {expected['p50'] / actual - 1:+.0%} off, the run {inside} its interval"
        elif not is_whole(document):
            how += " for all ranks; this run did not run them all, so the two are not compared"
        stats.append(Stat(title, _shown(name, actual), how))
    return stats


def _shown(name: str, value: float | None) -> str:
    return usd(value) if name == "usd" else number(value, "s")
