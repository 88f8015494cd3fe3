"""compute_cost: the bill of a run as a step."""

from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.runs.begin import Start
from inference.storage.store import Store
from tasks.billing.bill_of_run import bill_of
from tasks.billing.cost import METHODS, Cost, CostItem
from tasks.billing.waiting import sentence, waiting_cost
from tasks.invocations.journal import calls_of_killed_runs
from tasks.invocations.ledger import Ledger
from tasks.invocations.stored import beyond_note, keep_invocations, keep_killed, load_killed, of_records
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import step
from tasks.reporting.formatting import DASH, number, unit_price, usd
from tasks.run_results.summary import Summary


def _row(item: CostItem) -> dict[str, str]:
    """A line of the bill as the artifact shows it, money rounded."""
    return {
        "item": item.name,
        "quantity": number(item.quantity, item.unit),
        "unit price": DASH if item.unit_usd is None else f"${unit_price(item.unit_usd)}",
        "cost": usd(item.usd),
        "how": item.how,
    }


@step("compute cost")
def compute_costs(
    request: RunRequest, start: Start, summary: Summary, ledger: Ledger, store_root: str
) -> tuple[list[Cost], dict[int, float]]:
    """The bill by every method, the headline first; keeps the invocations and publishes the bill.

    Returns:
        The bills, and the seconds billed for each rank, all its attempts together.

    Raises:
        StoreError: the store cannot be written.
    """
    fingerprints = {event.rank: event.fingerprint for event in start.plan.events}
    store = Store(store_root)
    place = (store, request.bucket, request.result_path)
    known = keep_invocations(*place, ledger.invocations, fingerprints, folder=start.folder)
    earlier, killed = calls_of_killed_runs(store, request.bucket, start.folder, fingerprints, known)
    keep_killed(*place, killed, folder=start.folder)
    if earlier:
        known = keep_invocations(*place, earlier, fingerprints, folder=start.folder)
    unknown = of_records(summary.results, known, request.memory_mb)
    if unknown:
        known = keep_invocations(*place, unknown, fingerprints, folder=start.folder)
    costs = [bill_of(known, method, request, store, start.folder, summary.results) for method in METHODS]
    bill = costs[0]
    if lacking := beyond_note(load_killed(store, request.bucket, start.folder)):
        summary.document["notes"].append(f"The bill: {lacking}")
    if found := waiting_cost(summary.results, bill, request.memory_mb):
        summary.document["messages"] = {"through": request.messages} | found
        summary.document["notes"].append(sentence(found))
    create_table_artifact(
        [_row(item) for item in bill.items],
        key="cosmic-bill",
        description=f"{bill.headline}. {bill.how}",
    )
    did(f"{counted(len(known), 'call')} priced: {bill.headline}")
    billed: dict[int, float] = {}
    for invocation in known:
        billed[invocation.rank] = billed.get(invocation.rank, 0.0) + invocation.billed_s
    return costs, billed
