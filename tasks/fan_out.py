"""The fan-out: ranks as Prefect task runs, one a rank or one a group of ranks, whatever the executor."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, cast

from prefect import allow_failure
from prefect.client.schemas.objects import RunInput, State, TaskRunResult
from prefect.runtime import task_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from inference.contract.counted import counted
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.runs.plan import world_size_of
from tasks.dispatch.dispatcher import ATTEMPTS, Dispatcher, Limits
from tasks.dispatch.grouping import side_by_side
from tasks.dispatch.rank_group import RETRY_DELAYS_S, RankGroup, RanksFailed
from tasks.dispatch.within_limit import WithinLimit
from tasks.executors.base import Executor
from tasks.invocations.journal import Journal
from tasks.invocations.ledger import Ledger
from tasks.prefect_support.last_line import ended
from tasks.prefect_support.progress import ProgressArtifact
from tasks.prefect_support.rank_slots import LIMIT, RankSlots, rank_slots
from tasks.prefect_support.step import step
from tasks.reporting.terminal import bar


@step(
    "run ranks",
    task_run_name="{label}",
    retry_jitter_factor=1,
    retry_delay_seconds=RETRY_DELAYS_S,
    retries=ATTEMPTS - 1,
)
def run_ranks(label: str, group: RankGroup) -> Any:
    """Run the group's ranks that are not done yet and wait for them; `label` is the task run's name.

    Returns:
        The final state, whose message says what the ranks did, or begins with why one failed; the log and the UI show
        it. A failure that is raised would be shown behind Prefect's own words.
    """
    group.dispatcher.run(group.to_run(int(task_run.run_count or 1)))
    try:
        group.check()
    except RanksFailed as error:
        ended(str(error), "Failed")
        return Failed(message=str(error), data=error)
    ended(done := _what_was_done(group))
    return Completed(message=done)


def _what_was_done(group: RankGroup) -> str:
    """`375 galaxies in 1.24 s, attempt 1, on pid 4711`; of a group the sums and the number of workers."""
    ranks = {event.rank for event in group.events}
    calls = reversed(list(group.dispatcher.ledger.invocations))  # of two copies of a rank, the first to end counts
    by_rank = {call.rank: call.result for call in calls if call.result is not None and call.rank in ranks}
    results = list(by_rank.values())
    galaxies = counted(sum(result.samples for result in results), "galaxy")
    seconds = sum(result.wall_total_s for result in results)
    if len(results) == 1:
        return f"{galaxies} in {seconds:.2f} s, attempt {results[0].attempt}, on {results[0].worker}"
    workers = counted(len({result.worker for result in results}), "worker")
    return f"{counted(len(results), 'rank')}, {galaxies} in {seconds:.2f} s on {workers}"


def fan_out(
    events: Sequence[RankEvent],
    executor: Executor,
    ranks_per_task: int,
    limits: Limits | None = None,
    cancelled: Callable[[], str | None] = lambda: None,
    plan: State[Any] | None = None,
    journal: Journal | None = None,
) -> tuple[Ledger, list[Any]]:
    """Run ranks as task runs of the flow that calls this.

    Args:
        events: of the ranks.
        executor: runs them.
        ranks_per_task: ranks of one task run; all, where the executor takes the whole run.
        limits: how long and with how many failures the run goes on, and whether late ranks get backups.
        cancelled: says why the run is to stop at once, as a clause, or None.
        plan: final state of the task run that planned the ranks; the UI draws an edge from it to every task run.
        journal: where calls are written down while ranks run, against this process being killed.

    Returns:
        The ledger of all invocations, which says which ranks failed and why the run was stopped (neither is raised),
        and what a later step passes as `wait_for`, so that the UI draws the edges to it.

    Raises:
        BadInput: the ranks of a gang are more than the server's limit lets run at once.
    """
    ledger = Ledger()
    slots = None if executor.takes_whole_run else rank_slots()
    if slots is not None:
        if limits is not None and limits.gang:
            _check_slots(slots, len(events))
        executor = WithinLimit(executor, slots, len(events))
    dispatcher = Dispatcher(executor, ledger, events, limits, cancelled)
    size = len(events) if executor.takes_whole_run else ranks_per_task
    groups = [RankGroup(events[start : start + size], dispatcher) for start in range(0, len(events), size)]
    run_groups = _run_here if executor.in_process else _run_in_threads
    ended: list[Any] = []
    artifact = ProgressArtifact("ranks", len(events))
    written = nullcontext() if journal is None else journal.of(ledger, dispatcher.open_calls)
    with written, slots or nullcontext(), bar("ranks", len(events)) as show:

        def show_progress() -> None:
            done = len(ledger.done) + executor.seen_done()
            show(done)
            artifact.refresh(done)

        try:
            ended = run_groups(groups, dispatcher, show_progress, plan)
        finally:
            show(len(ledger.done))
            artifact.refresh(len(ledger.done), every_s=0.0)
    ledger.invocations = executor.settle(ledger.invocations)
    return ledger, ended


def check_limit(request: RunRequest) -> None:
    """See that the server's limit lets the ranks of a gang run at once; ranks of any other run wait for their turn.

    Raises:
        BadInput: it does not.
    """
    if request.messages is not None and (slots := rank_slots()) is not None:
        _check_slots(slots, world_size_of(request, ()))


def _check_slots(slots: RankSlots, ranks: int) -> None:
    if slots.limit < ranks:
        raise BadInput(
            f"messages: all {ranks} ranks must run at once, and the Prefect server's limit {LIMIT} is {slots.limit}:"
            f" raise it (`prefect gcl update {LIMIT} --limit {ranks}`)"
        )


def _run_here(
    groups: Sequence[RankGroup], dispatcher: Dispatcher, show_progress: Callable[[], None], _plan: State[Any] | None
) -> list[Any]:
    """Run the groups one after the other in this thread, for a debugger."""
    states: list[State[Any]] = []
    with dispatcher:
        for group in groups:
            if dispatcher.ledger.stop_reason is None:
                states.append(run_ranks(group.label, group, return_state=True))
                _note_end(group, states[-1])
            show_progress()
    return [allow_failure(state) for state in states]


def _run_in_threads(
    groups: Sequence[RankGroup], dispatcher: Dispatcher, show_progress: Callable[[], None], plan: State[Any] | None
) -> list[Any]:
    """Run the groups side by side, with the dispatcher's loop in this thread."""
    executor = dispatcher.executor
    width = side_by_side(len(groups), executor)
    pool: ThreadPoolTaskRunner[None] = ThreadPoolTaskRunner(max_workers=width)
    # The dispatcher is left first, also when interrupted, so that no thread waits for a rank any more.
    with pool as runner, dispatcher:
        runs: dict[Future[None], RankGroup] = {}
        # The id alone is passed: with `wait_for`, Prefect would walk through the whole plan in every task run.
        planned_by = None if plan is None else plan.state_details.task_run_id
        inputs: set[RunInput] = set() if planned_by is None else {TaskRunResult(id=planned_by)}
        submitted = []
        for group in groups:
            submitted.append(
                runner.submit(run_ranks, {"label": group.label, "group": group}, dependencies={"group": inputs})
            )
            future = submitted[-1].wrapped_future
            future.add_done_callback(dispatcher.wake)
            runs[future] = group
        waiting = set(runs)

        def all_ended() -> bool:
            waiting.difference_update([future for future in waiting if future.done()])
            return not waiting

        dispatcher.serve(all_ended, show_progress)
        for future in waiting:
            future.cancel()
    for future, group in runs.items():
        if not future.cancelled():
            _note_end(group, future.exception() or cast(State[None], future.result()))
    return [
        allow_failure(each)
        for each in submitted
        if not each.wrapped_future.cancelled() and each.wrapped_future.exception() is None
    ]


def _note_end(group: RankGroup, end: State[None] | BaseException) -> None:
    """Say of ranks whose task run ended without trying them how it ended."""
    ranks, ledger = [event.rank for event in group.events], group.dispatcher.ledger
    if ledger.stop_reason is not None:  # which says why, also of a task run that Prefect's runner cancelled
        return
    if isinstance(end, BaseException):
        ledger.never_ran(ranks, f"its task run did not start: {end!r}")
    elif not end.is_completed():
        ledger.never_ran(ranks, f"its task run ended {end.name}: {end.message}")
