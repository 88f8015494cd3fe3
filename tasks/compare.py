"""compare: a comparison, also with the last good night, as an artifact and as an event when its gate trips."""

import json
from typing import Any

from prefect.events import emit_event

from inference.contract.counted import counted
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import step
from tasks.reporting.formatting import plain
from tasks.sweeps.comparison import GATES, Side, compare, side_of
from tasks.sweeps.comparison_table import REGRESSION, comparison_table

LAST_GOOD = "last-good.json"


@step("publish comparison")
def publish_comparison(comparison: dict[str, Any], key: str) -> None:
    """Publish the comparison as a table artifact, and raise a Prefect event (REGRESSION) when its gate trips.

    Args:
        comparison: of `tasks.sweeps.comparison.compare`.
        key: of the artifact, the same from night to night so that the UI shows its history; lower-case letters, digits
            and hyphens.
    """
    table = comparison_table(comparison)
    messages = [*comparison["warnings"], *comparison["tripped"]]
    create_table_artifact(
        table.to_artifact(), key=key, description="\n\n".join(plain(text) for text in (*messages, table.caption))
    )
    if comparison["tripped"]:
        emit_event(
            REGRESSION,
            resource={"prefect.resource.id": f"cosmic.comparison.{key}", "prefect.resource.name": table.title},
            payload={name: comparison[name] for name in ("a", "b", "fail_above", "tripped", "warnings")},
        )
    did(f"{counted(len(comparison['rows']), 'row')} compared, {len(comparison['tripped']):,} beyond the gate")


@step("compare with last good night")
def compare_with_last_good(document: dict[str, Any], bucket: str, store_root: str, fail_above: float) -> dict[str, Any]:
    """Compare a sweep with the last night that was good, and keep it as that when it is good itself.

    A night is good when every run of it is whole and no metric is worse than in the last good night by more than
    `fail_above` times and by more than the noise. The first night that is whole is good. The comparison is an
    artifact, `sweep-<name>-gate`; a night that is not good raises `tasks.sweeps.comparison_table.REGRESSION`.

    Args:
        document: of `tasks.sweep_steps.publish_sweep`.
        bucket: where `sweeps/<name>/last-good.json` lies.
        store_root: root of the store.
        fail_above: ratio above which a metric trips, at least 1.

    Returns:
        The comparison (`tasks.sweeps.comparison.compare`).

    Raises:
        BadInput: the last good night is damaged, or of other cells.
    """
    name = document["sweep"]
    store, key = Store(store_root), f"sweeps/{name}/{LAST_GOOD}"
    comparison = _compared(document, _last_good(store, bucket, key), fail_above)
    if document["failed"]:
        count = f"{len(document['failed'])} of {document['runs']} runs failed"
        comparison["tripped"].append(f"{count}, the first because {document['failed'][0]['error']}")
    publish_comparison.fn(comparison, f"sweep-{name}-gate")
    if not comparison["tripped"]:
        store.write(bucket, key, json.dumps(document, default=str).encode())
    verdict = "this night is not good" if comparison["tripped"] else "this night is the last good one now"
    did(f"compared with {comparison['a']}: {verdict}")
    return comparison


def _last_good(store: Store, bucket: str, key: str) -> Side | None:
    try:
        document = store.read_json(bucket, key)
        return None if document is None else side_of(f"the good night of {document['created']}", document)
    except (BadInput, TypeError, KeyError) as error:
        why = str(error) if isinstance(error, BadInput) else f"{bucket}/{key} lacks when it was created"
        raise BadInput(f"{why}: delete {bucket}/{key}, and the next night is taken as good") from None


def _compared(document: dict[str, Any], last: Side | None, fail_above: float) -> dict[str, Any]:
    name = f"the night of {document['created']}"
    if last is not None and len(document["failed"]) < document["runs"]:
        return compare(last, side_of(name, document), fail_above)
    nothing = "no good night yet" if last is None else last.name
    return {
        "a": nothing,
        "b": name,
        "warnings": [],
        "rows": [],
        "fail_above": fail_above,
        "gates": list(GATES),
        "tripped": [],
    }
