"""The fan-out: one Prefect task run a rank (or a group of ranks), or one for a state machine that runs them all."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import task_run
from prefect.task_runners import ThreadPoolTaskRunner

from inference.contract.rank_event import RankEvent
from inference.errors import RankFailed
from tasks.dispatch.dispatcher import Dispatch, Limits
from tasks.executors.base import Executor
from tasks.executors.step_functions import StepFunctionsExecutor
from tasks.invocations.ledger import Ledger
from tasks.prefect_support.artifacts import create_progress_artifact, update_progress_artifact
from tasks.prefect_support.retries import RANK_RETRIES, RANK_RETRY_DELAYS_S, worth_retrying
from tasks.reporting.terminal import bar

_LOOK_S = 0.05  # between two looks at what is late, and whether to stop


class _RanksFailed(RankFailed):
    """Ranks of a task run are not done; `retryable` says whether Prefect should run it again."""

    def __init__(self, failed: Mapping[int, str], *, retryable: bool) -> None:
        told = [f"rank {rank}: {error}" for rank, error in list(failed.items())[:5]]
        super().__init__("; ".join(told) + (f"; and {len(failed) - 5} more" if len(failed) > 5 else ""))
        self.retryable = retryable


class Share:
    """The ranks of one task run, with what runs them; no dataclass, for the ledger's reason."""

    def __init__(self, events: Sequence[RankEvent], dispatch: Dispatch) -> None:
        self.events, self.dispatch = events, dispatch


@task(
    name="run ranks",
    task_run_name="{label}",
    retries=RANK_RETRIES,
    retry_delay_seconds=RANK_RETRY_DELAYS_S,
    retry_jitter_factor=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def run_ranks(label: str, share: Share) -> None:
    """Run the share's ranks that are not done yet and wait for them; `label` is the task run's name.

    Raises:
        RankFailed: naming the ranks that failed, or why the fan-out was stopped; the others are done.
    """
    attempt, dispatch = int(task_run.run_count or 1), share.dispatch
    over = dispatch.ledger.done | dispatch.given_up
    ended = dispatch.run([replace(event, attempt=attempt) for event in share.events if event.rank not in over])
    failed = [invocation for invocation in ended if invocation.error is not None]
    dispatch.give_up(call.rank for call in failed if attempt > RANK_RETRIES or not call.retryable)
    left = [event.rank for event in share.events if event.rank not in dispatch.ledger.done]
    if left and dispatch.why is not None:
        raise _RanksFailed(dict.fromkeys(left, dispatch.why), retryable=False)
    lost = {event.rank: error for event in share.events if (error := dispatch.ledger.last_error(event.rank))}
    if lost:
        raise _RanksFailed(lost, retryable=not lost.keys() <= dispatch.given_up)


def label_of(events: Sequence[RankEvent]) -> str:
    """Name of a task run: `rank 007 of 041`, or `ranks 0001-0040 of 1200` for a group; ranks count from 0."""
    size = events[0].world_size
    width = max(len(str(size)), 3)
    first, last = (f"{event.rank:0{width}d}" for event in (events[0], events[-1]))
    of = f"of {size:0{width}d}"
    return f"rank {first} {of}" if len(events) == 1 else f"ranks {first}-{last} {of}"


def fan_out(
    events: Sequence[RankEvent],
    executor: Executor,
    each: int,
    limits: Limits | None = None,
    cancelled: Callable[[], str | None] = lambda: None,
) -> Ledger:
    """Run ranks as task runs of the flow that calls this, `each` ranks a task run.

    Args:
        events: of the ranks.
        executor: runs them.
        each: ranks a task run.
        limits: how long and with how many failures the run goes on, and whether late ranks get backups.
        cancelled: tells why the run is to stop at once, as a clause, or None.

    Returns:
        The ledger of all invocations; failed ranks are told there, not raised, and so is why the fan-out was stopped.
    """
    ledger = Ledger()
    groups = [events[start : start + each] for start in range(0, len(events), each)]
    dispatch = Dispatch(executor, ledger, events, limits, cancelled)
    artifact = _ProgressArtifact(lambda: len(ledger.done), len(events))
    shares = [Share(group, dispatch) for group in groups]
    try:
        with bar("ranks", len(events)) as show, artifact:
            if executor.in_process:
                with dispatch:
                    for share in shares:
                        if dispatch.why is None:
                            _account(share, run_ranks(label_of(share.events), share, return_state=True))
                        show(len(ledger.done))
                        artifact.refresh()
                    ledger.stopped = dispatch.why
            else:
                width = min(len(groups), executor.concurrency)
                # The dispatch is left first, also when interrupted, so that no thread waits for a rank any more.
                pool: ThreadPoolTaskRunner[None] = ThreadPoolTaskRunner(max_workers=width)
                with pool as runner, dispatch:
                    runs = {
                        runner.submit(
                            run_ranks, {"label": label_of(share.events), "share": share}
                        ).wrapped_future: share
                        for share in shares
                    }
                    waiting = set(runs)
                    while waiting:
                        waiting = wait(waiting, timeout=_LOOK_S).not_done
                        dispatch.look()
                        show(len(ledger.done))
                        artifact.refresh()
                        if dispatch.why is not None:
                            waiting = {future for future in waiting if not future.cancel()}
                    ledger.stopped = dispatch.why
                for future, share in runs.items():
                    if not future.cancelled():
                        _account(share, future.exception() or cast(State[None], future.result()))
    finally:
        dispatch.write_off()
    if ledger.stopped is not None:
        ledger.never_run([event.rank for event in events], f"stopped: {ledger.stopped}")
    ledger.invocations = executor.settle(ledger.invocations)
    return ledger


class Errand:
    """An execution to be run, with what runs it; no dataclass, for the ledger's reason."""

    def __init__(
        self,
        document: Mapping[str, Any],
        events: Sequence[RankEvent],
        executor: StepFunctionsExecutor,
        ledger: Ledger,
        progress: Callable[[int], None],
    ) -> None:
        self.document, self.events, self.executor, self.ledger = document, events, executor, ledger
        self.progress = progress


@task(name="run state machine", task_run_name="{label}", cache_policy=NO_CACHE)
def run_state_machine(label: str, errand: Errand) -> None:
    """Run all ranks as one execution of a state machine, which does its own retrying; `label` is the task run's name.

    Raises:
        RankFailed: the execution could not be started, followed or ended other than well; ranks that are done are
            entered in the ledger.
    """
    execution = errand.executor.run(errand.document, errand.events, errand.ledger, errand.progress)
    if execution.status != "SUCCEEDED":
        raise RankFailed(execution.why)


def map_out(
    document: Mapping[str, Any],
    events: Sequence[RankEvent],
    executor: StepFunctionsExecutor,
    limits: Limits | None = None,
    cancelled: Callable[[], str | None] = lambda: None,
) -> Ledger:
    """Run ranks through a state machine, as one task run of the flow that calls this.

    How many failed ranks stop the map is for the machine to say (the stack's ToleratedFailurePercentage).

    Args:
        document: the machine's input.
        events: the ranks that are not done.
        executor: starts and follows the execution.
        limits: how long it may take.
        cancelled: tells why the run is to stop at once, as a clause, or None.

    Returns:
        The ledger of what became of the ranks; failed ranks are told there, not raised.
    """
    ledger = Ledger()
    done = 0
    artifact = _ProgressArtifact(lambda: done, len(events))
    with bar("ranks", len(events)) as show, artifact, executor:

        def progress(count: int) -> None:
            nonlocal done
            done = count
            show(done)
            artifact.refresh()
            ledger.stopped = (limits or Limits()).over(0, 1) or cancelled()
            if ledger.stopped is not None:
                raise RankFailed(f"stopped: {ledger.stopped}")

        errand = Errand(document, events, executor, ledger, progress)
        end = run_state_machine(f"{len(events)} ranks", errand, return_state=True)
        if not end.is_completed():
            error = end.result(raise_on_failure=False)
            why = str(error) if isinstance(error, RankFailed) else f"{end.name}: {end.message}"
            ledger.never_run([event.rank for event in events], why)
    return ledger


def _account(share: Share, end: State[None] | BaseException) -> None:
    """Say of ranks whose task run ended without trying them how it ended, unless the fan-out was stopped."""
    if share.dispatch.ledger.stopped is not None:
        return
    ranks, ledger = [event.rank for event in share.events], share.dispatch.ledger
    if isinstance(end, BaseException):
        ledger.never_run(ranks, f"its task run did not start: {end!r}")
    elif not end.is_completed():
        ledger.never_run(ranks, f"its task run ended {end.name}: {end.message}")


class _ProgressArtifact:
    """How many ranks are done, for the UI: brought up to date every few seconds, and at the end."""

    def __init__(self, done: Callable[[], int], total: int) -> None:
        self._done, self._total = done, total
        self._artifact = cast(UUID, create_progress_artifact(0.0, key="cosmic-progress", description=f"{total} ranks"))
        self._shown_at = time.monotonic()

    def refresh(self, every_s: float = 3.0) -> None:
        if time.monotonic() - self._shown_at >= every_s:
            done = self._done()
            told = f"{done} of {self._total} ranks done"
            update_progress_artifact(self._artifact, 100.0 * done / self._total, description=told)
            self._shown_at = time.monotonic()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.refresh(0.0)
