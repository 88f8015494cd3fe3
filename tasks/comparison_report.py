"""The comparison of two runs or sweeps as a table, as an artifact, and as an event when its gate trips."""

from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from tasks.display import plain
from tasks.policy import STEP_RETRIES, worth_retrying
from tasks.tables import SPREAD, Column, Table, as_text

REGRESSION = "cosmic.comparison.regression"


def comparison_table(comparison: dict[str, Any]) -> Table:
    """Every metric of B beside that of A, with the ratio and the verdict."""
    rows = [
        row | {"metric": f"{row['title']}, {row['unit']}" if row["unit"] else row["title"]}
        for row in comparison["rows"]
    ]
    columns = [
        *([Column("cell", "Cell", as_text, text=True)] if any(row["cell"] for row in rows) else []),
        Column("metric", "Metric", as_text, text=True),
        Column("a", "A", spread=True),
        Column("b", "B", spread=True),
        Column("ratio", "B : A", spread=True),
        Column("verdict", "Verdict", as_text, text=True),
    ]
    caption = f"A: {comparison['a']}. B: {comparison['b']}. {SPREAD}"
    return Table("comparison", f"{comparison['b']} against {comparison['a']}", columns, rows, caption)


@task(
    name="publish comparison",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def publish_comparison(comparison: dict[str, Any], key: str) -> None:
    """Publish the comparison as a table artifact, and raise a Prefect event (REGRESSION) when its gate trips.

    Args:
        comparison: of `tasks.comparison.compare`.
        key: of the artifact, the same from night to night so that the UI shows its history; lower-case letters, digits
            and hyphens.
    """
    table = comparison_table(comparison)
    told = [*comparison["warnings"], *comparison["tripped"]]
    create_table_artifact(
        table.to_artifact(), key=key, description="\n\n".join(plain(text) for text in (*told, table.caption))
    )
    if comparison["tripped"]:
        emit_event(
            REGRESSION,
            resource={"prefect.resource.id": f"cosmic.comparison.{key}", "prefect.resource.name": table.title},
            payload={name: comparison[name] for name in ("a", "b", "fail_above", "tripped", "warnings")},
        )
