"""What became of an execution's ranks: their results, their failures, and what was billed for each."""

import dataclasses
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.errors import RankFailed
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import gather, result_key
from inference.storage.store import Store
from tasks.aws.execution import Execution, attempts, failure, is_denied
from tasks.aws.execution_history import Attempt
from tasks.invocations.invocation import Invocation
from tasks.invocations.stored import of_records

_READERS = 32
_HOW = "measured by the state machine, an estimate"


@dataclass(frozen=True)
class RanksOfExecution:
    """What an execution made of its ranks.

    Attributes:
        invocations: every call that ran, by the order of their ends; a rank's last one decides whether it is done.
        reasons: why a rank has no invocation.
    """

    invocations: tuple[Invocation, ...]
    reasons: Mapping[int, str]


def read_ranks(client: Any, execution: Execution, events: Sequence[RankEvent], memory_mb: int) -> RanksOfExecution:
    """Every call of the execution's ranks, and of the others why they have none.

    A rank is done when its result lies in the store, whatever the machine says of its item. Calls that the machine
    repeated are lines of the bill too, as far as its history shows them.

    Args:
        client: boto3's, of `stepfunctions`.
        execution: ended.
        events: the ranks that it was to run.
        memory_mb: memory of the function, where neither a result nor a REPORT line says it.

    Raises:
        StoreError: the results cannot be read.
        ClientError: AWS refuses what it allowed before.
    """
    store = Store(events[0].store)
    results = {result.rank: result for result in gather(store, events).results}
    adopted, reasons = _adopt(client, execution, store, [event for event in events if event.rank not in results])
    results |= adopted
    planned = {event.rank for event in events}
    failed = [call for call in _allowed_attempts(client, execution, unsuccessful=True) if call.rank in planned]
    calls = _failures([call for call in failed if _ran(call)], memory_mb)
    tries = Counter(call.rank for call in calls)
    done = [results[event.rank] for event in events if event.rank in results]
    calls += [
        dataclasses.replace(call, attempt=tries[call.rank] + 1, result=results[call.rank])
        for call in of_records(done, (), memory_mb)
    ]
    # A result decides, also where a later copy of its rank failed.
    calls.sort(key=lambda call: (call.result is not None, call.ended_at))
    reasons |= {call.rank: failure(call.error, call.cause)[0] for call in failed if call.rank is not None}
    ended = "the execution ended well and left no result for it" if execution.status == "SUCCEEDED" else execution.why
    silent = planned - {call.rank for call in calls}
    return RanksOfExecution(tuple(calls), {rank: reasons.get(rank, ended) for rank in silent})


def failed_calls(client: Any, execution: Execution, ranks: Collection[int], memory_mb: int) -> list[Invocation]:
    """The calls of an execution's ranks that ran and failed, as far as its history shows them.

    Raises:
        ClientError: AWS refuses what it allowed before.
    """
    failed = _allowed_attempts(client, execution, unsuccessful=True)
    return _failures([call for call in failed if call.rank in ranks and _ran(call)], memory_mb)


def _allowed_attempts(client: Any, execution: Execution, *, unsuccessful: bool) -> list[Attempt]:
    try:
        return attempts(client, execution, unsuccessful=unsuccessful)
    except ClientError as error:
        if not is_denied(error):
            raise
        return []


def _adopt(
    client: Any, execution: Execution, store: Store, missing: Sequence[RankEvent]
) -> tuple[dict[int, RankResult], dict[int | None, str]]:
    """Results that an old function wrote, stamped with ours, and why others could not be.

    Their times are those of the machine's items where it tells them, else those of the whole map.
    """
    if not missing or execution.map is None:
        return {}, {}
    there = {stored.key for stored in store.list(missing[0].result_bucket, missing[0].result_path)}
    old = [event for event in missing if event.script and result_key(event.result_path, event.rank) in there]
    if not old:
        return {}, {}
    calls = {call.rank: call for call in _allowed_attempts(client, execution, unsuccessful=False)}
    whole = Attempt(
        rank=None,
        started_at=execution.map.started_at,
        ended_at=execution.map.ended_at or execution.stopped_at or time.time(),
    )

    def take(event: RankEvent) -> RankResult | str:
        call = calls.get(event.rank, whole)
        try:
            return import_external_result(store, event, started_at=call.started_at, ended_at=call.ended_at)
        except RankFailed as error:
            return str(error)

    with ThreadPoolExecutor(_READERS) as readers:
        taken = dict(zip((event.rank for event in old), readers.map(take, old), strict=True))
    return (
        {rank: result for rank, result in taken.items() if isinstance(result, RankResult)},
        {rank: why for rank, why in taken.items() if isinstance(why, str)},
    )


def _ran(call: Attempt) -> bool:
    """Whether a function ran: Lambda's own refusals, such as TooManyRequestsException, are not billed."""
    return not (str(call.error).startswith("Lambda.") and str(call.error).endswith("Exception"))


def _failures(failed: Iterable[Attempt], memory_mb: int) -> list[Invocation]:
    tries: Counter[int] = Counter()
    calls: list[Invocation] = []
    for call in failed:
        rank = call.rank if call.rank is not None else -1
        tries[rank] += 1
        error, request_id = failure(call.error, call.cause)
        seconds = call.ended_at - call.started_at
        calls.append(
            Invocation(
                rank=rank,
                attempt=tries[rank],
                started_at=call.started_at,
                ended_at=call.ended_at,
                duration_s=seconds,
                billed_s=seconds,
                billed_how=_HOW,
                memory_mb=memory_mb,
                request_id=request_id,
                error=error,
                retryable=False,
            )
        )
    return calls
