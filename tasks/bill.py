"""compute_cost: the bill of a run as a step."""

import dataclasses
from collections.abc import Sequence

from inference.contract.rank_result import RankResult
from inference.contract.run_request import RunRequest
from inference.rank_results.gather import read_combined
from inference.rank_results.publish_summary import committed_folder
from inference.runs.begin import Start
from inference.runs.plan import read_request
from inference.storage.store import Store
from tasks.billing.cost import METHODS, Cost, CostItem, compute_cost
from tasks.billing.express import express_of
from tasks.billing.waiting import sentence, waiting
from tasks.invocations.invocation import Invocation
from tasks.invocations.journal import calls_of_killed_runs
from tasks.invocations.ledger import Ledger
from tasks.invocations.stored import keep_invocations, load_executions, load_invocations, of_records, transitions_of
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.step import step
from tasks.reporting.formatting import DASH, number, unit_price, usd
from tasks.run_results.summary import Summary


def _cost(
    invocations: Sequence[Invocation],
    method: str,
    request: RunRequest,
    store: Store,
    folder: str,
    results: Sequence[RankResult],
    *,
    free_tier: bool = False,
) -> Cost:
    """The bill of a run; S3 requests are those of its finished ranks, where the store is S3 at all."""
    counted = () if store.is_local else results
    writes = sum(result.store_writes + 1 for result in counted)  # a record cannot count its own writing
    executions = load_executions(store, request.bucket, folder) or load_executions(
        store, request.bucket, request.result_path
    )
    cost = compute_cost(
        invocations,
        method=method,
        region=request.region,
        architecture=request.architecture,
        state_transitions=transitions_of(executions),
        express=express_of(executions, invocations),
        s3_puts=writes,
        s3_gets=sum(result.store_requests - result.store_writes for result in counted),
        free_tier=free_tier,
    )
    found = waiting(results, cost, request.memory_mb) if method == "billed" else {}
    return dataclasses.replace(cost, how=f"{cost.how} In it, {sentence(found)}.") if found else cost


def _row(item: CostItem) -> dict[str, str]:
    """A line of the bill as the artifact shows it, money rounded."""
    return {
        "item": item.name,
        "quantity": number(item.quantity, item.unit),
        "unit price": DASH if item.unit_usd is None else f"${unit_price(item.unit_usd)}",
        "cost": usd(item.usd),
        "how": item.how,
    }


def cost_of_run(store_root: str, bucket: str, result_path: str, method: str, *, free_tier: bool = False) -> Cost:
    """The bill of a run that lies in the store.

    Raises:
        BadInput: no run ended there, or `compute_cost` refuses.
    """
    store = Store(store_root)
    folder = committed_folder(store, bucket, result_path)
    invocations = load_invocations(store, bucket, folder)
    results = read_combined(store, bucket, folder)
    request = read_request(store, bucket, result_path)
    return _cost(invocations, method, request, store, folder, results, free_tier=free_tier)


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
    earlier = calls_of_killed_runs(store, request.bucket, start.folder, fingerprints, known)
    if earlier:
        known = keep_invocations(*place, earlier, fingerprints, folder=start.folder)
    unknown = of_records(summary.results, known, request.memory_mb)
    if unknown:
        known = keep_invocations(*place, unknown, fingerprints, folder=start.folder)
    costs = [_cost(known, method, request, store, start.folder, summary.results) for method in METHODS]
    bill = costs[0]
    if found := waiting(summary.results, bill, request.memory_mb):
        summary.document["messages"] = {"through": request.messages} | found
        summary.document["notes"].append(sentence(found))
    create_table_artifact(
        [_row(item) for item in bill.items],
        key="cosmic-bill",
        description=f"{bill.headline}. {bill.how}",
    )
    billed: dict[int, float] = {}
    for invocation in known:
        billed[invocation.rank] = billed.get(invocation.rank, 0.0) + invocation.billed_s
    return costs, billed
