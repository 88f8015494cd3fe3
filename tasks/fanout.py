"""run_ranks: one Prefect task run a rank (or a group of ranks), each a call of the executor."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run
from prefect.task_runners import ThreadPoolTaskRunner

from inference.errors import RankFailed
from inference.events import RankEvent
from tasks.executors.base import Executor, Invocation
from tasks.ledger import Ledger
from tasks.policy import RANK_RETRIES, RANK_RETRY_DELAYS_S, worth_retrying
from tasks.progress import bar


class _RanksFailed(RankFailed):
    def __init__(self, failed: Sequence[Invocation]) -> None:
        super().__init__(
            "; ".join(f"rank {failure.rank}: {failure.error}" for failure in failed[:5])
            + (f"; and {len(failed) - 5} more" if len(failed) > 5 else "")
        )
        self.retryable = any(failure.retryable for failure in failed)


@task(
    name="run ranks",
    task_run_name="{label}",
    tags=["cosmic", "rank"],
    retries=RANK_RETRIES,
    retry_delay_seconds=RANK_RETRY_DELAYS_S,
    retry_jitter_factor=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def run_ranks(label: str, events: Sequence[RankEvent], executor: Executor, ledger: Ledger) -> None:
    """Run the ranks that are not done yet and wait for them; `label` is the task run's name.

    Raises:
        RankFailed: naming the ranks that failed; the others are done.
    """
    attempt = int(task_run.run_count or 1)
    todo = [replace(event, attempt=attempt) for event in events if event.rank not in ledger.done]

    def run(event: RankEvent) -> Invocation:
        invocation = executor.invoke(event)
        ledger.enter(invocation)
        return invocation

    if len(todo) == 1 or executor.concurrency == 1:
        ended = [run(event) for event in todo]
    else:
        with ThreadPoolExecutor(min(len(todo), executor.concurrency)) as threads:
            ended = list(threads.map(run, todo))
    failed = [invocation for invocation in ended if invocation.error is not None]
    if failed:
        raise _RanksFailed(failed)


def label_of(events: Sequence[RankEvent]) -> str:
    """Name of a task run: `rank 007 of 041`, or `ranks 0001-0040 of 1200` for a group; ranks count from 0."""
    size = events[0].world_size
    width = max(len(str(size)), 3)
    first, last = (f"{event.rank:0{width}d}" for event in (events[0], events[-1]))
    of = f"of {size:0{width}d}"
    return f"rank {first} {of}" if len(events) == 1 else f"ranks {first}-{last} {of}"


def fan_out(events: Sequence[RankEvent], executor: Executor, each: int) -> Ledger:
    """Run ranks as task runs of the flow that calls this, `each` ranks a task run.

    Returns:
        The ledger of all invocations; failed ranks are told there, not raised.
    """
    ledger = Ledger()
    groups = [events[start : start + each] for start in range(0, len(events), each)]
    artifact = create_progress_artifact(0.0, key="cosmic-progress", description=f"{len(events)} ranks")
    calls = [{"label": label_of(group), "events": group, "executor": executor, "ledger": ledger} for group in groups]
    with bar("ranks", len(events)) as show:
        if executor.concurrency == 1:
            with executor:
                for call in calls:
                    run_ranks(**call, return_state=True)
                    show(len(ledger.done))
        else:
            width = min(len(groups), executor.concurrency)
            # The executor is left first, also when interrupted, so that no thread waits for a rank any more.
            pool: ThreadPoolTaskRunner[None] = ThreadPoolTaskRunner(max_workers=width)
            with pool as runner, executor:
                waiting = {runner.submit(run_ranks, call).wrapped_future for call in calls}
                while waiting:
                    waiting = wait(waiting, timeout=0.2).not_done
                    show(len(ledger.done))
    done = f"{len(ledger.done)} of {len(events)} ranks done"
    update_progress_artifact(artifact, 100.0 * len(ledger.done) / len(events), description=done)  # type: ignore[arg-type]
    return ledger
