"""The bill of a run: of one that has just ended, and of one that lies in the store."""

import dataclasses
from collections.abc import Sequence

from inference.contract.rank_result import RankResult
from inference.contract.run_request import RunRequest
from inference.rank_results.gather import read_combined
from inference.rank_results.publish_summary import committed_folder
from inference.runs.plan import read_request
from inference.storage.store import Store
from tasks.billing.cost import Cost, compute_cost
from tasks.billing.express import express_of
from tasks.billing.waiting import sentence, waiting_cost
from tasks.invocations.invocation import Invocation
from tasks.invocations.stored import beyond_note, load_executions, load_invocations, load_killed, transitions_of


def bill_of(
    invocations: Sequence[Invocation],
    method: str,
    request: RunRequest,
    store: Store,
    folder: str,
    results: Sequence[RankResult],
    *,
    free_tier: bool = False,
) -> Cost:
    """The bill of a run; S3 requests are its finished ranks', also where its results were copied to a folder."""
    on_aws = any(call.is_reported or call.is_emulated for call in invocations)
    counted = () if store.is_local and not on_aws else results
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
    killed = load_killed(store, request.bucket, folder) or load_killed(store, request.bucket, request.result_path)
    if lacking := beyond_note(killed):
        cost = dataclasses.replace(cost, how=f"{cost.how} {lacking}")
    found = waiting_cost(results, cost, request.memory_mb) if method == "billed" else {}
    return dataclasses.replace(cost, how=f"{cost.how} In it, {sentence(found)}.") if found else cost


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
    return bill_of(invocations, method, request, store, folder, results, free_tier=free_tier)
