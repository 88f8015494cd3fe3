"""One process that fans out, so that its memory and CPU seconds are the client's alone.

`python -m benchmarks.parts.fanout_client RANKS CONCURRENCY TURNS` runs the flow's fan-out and, from two turns on, the
bare threaded client in turn with it; it prints one JSON document. Server and endpoint come from the environment.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run

from inference.contract.rank_event import RankEvent
from tasks.aws.session import client
from tasks.dispatch.dispatcher import Limits
from tasks.dispatch.grouping import ranks_per_task
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.fan_out import fan_out
from tasks.invocations.ledger import Ledger

FUNCTION = "stub"


def events_of(ranks: int) -> list[RankEvent]:
    """Events as a run over so many partitions has them."""
    return [
        RankEvent(
            rank=rank,
            world_size=ranks,
            bucket="bench-bucket",
            result_bucket="bench-bucket",
            data_bucket="bench-bucket",
            data_prefix="25MB",
            data_paths=(f"25MB/{rank + 1}.pt",),
            data_etags=("0123456789abcdef0123456789abcdef",),
            result_path="results/bench",
            batch_size=512,
            model="models/full.safetensors",
            model_sha256="ab" * 32,
            fingerprint="f" * 32,
        )
        for rank in range(ranks)
    ]


def in_a_flow(fan: Callable[[], Ledger]) -> dict[str, Any]:
    """A fan-out inside a flow run, as a run has it: its ledger, wall and CPU seconds, and its task runs by state."""

    @flow(name="fan-out of the benchmark")
    def benchmark() -> tuple[Ledger, object, float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        ledger = fan()
        return ledger, flow_run.id, time.perf_counter() - start, time.process_time() - cpu

    ledger, flow_id, seconds, cpu_s = benchmark()
    return {"s": seconds, "cpu_s": cpu_s, "ledger": ledger, "task_runs": _task_states(flow_id)}


def ours(events: Sequence[RankEvent], concurrency: int) -> dict[str, Any]:
    """The flow's fan-out over the Lambda executor, with backups for late ranks on, as a run on Lambda has them."""
    executor = LambdaExecutor(FUNCTION, concurrency)
    executor.check()
    measured = in_a_flow(lambda: fan_out(events, executor, ranks_per_task(len(events)), Limits(hedging=True))[0])
    ledger = measured.pop("ledger")
    return measured | {"done": len(ledger.done), "calls": len(ledger.invocations)}


def _task_states(flow_id: object) -> dict[str, int]:
    """{state: task runs}, once the server has recorded them all."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_id]))  # type: ignore[list-item]
    with get_client(sync_client=True) as api:
        for _ in range(100):
            runs = api.read_task_runs(flow_run_filter=mine, limit=200)
            if runs and all(run.state is not None and run.state.is_final() for run in runs):
                break
            time.sleep(0.2)
    names = [str(run.state_name) for run in runs]
    return {name: names.count(name) for name in set(names)}


def bare(events: Sequence[RankEvent], concurrency: int) -> dict[str, Any]:
    """What a script of a dozen lines would do: a thread a call in flight, one client, the reply parsed."""
    start, cpu = time.perf_counter(), time.process_time()
    functions = client("lambda", read_timeout=960, retries={"total_max_attempts": 1}, max_pool_connections=concurrency)

    def call(event: RankEvent) -> Any:
        payload = json.dumps(event.to_wire()).encode()
        answer = functions.invoke(FunctionName=FUNCTION, Payload=payload, LogType="Tail")
        return json.loads(answer["Payload"].read())["rank"]

    with ThreadPoolExecutor(concurrency) as threads:
        done = set(threads.map(call, events))
    return {"s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, "done": len(done)}


def peak_rss_mb() -> float:
    """The most memory that this process ever held, in MB of 1,000,000 bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    """Run the turns; print what each took."""
    ranks, concurrency, turns = map(int, sys.argv[1:4])
    events, ways = events_of(ranks), {"ours": ours, "bare": bare} if turns > 1 else {"ours": ours}
    taken: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(turns):
        for way in ways if turn % 2 else reversed(ways):
            taken[way].append(ways[way](events, concurrency))
    print(json.dumps({"turns": taken, "peak_rss_mb": peak_rss_mb()}))


if __name__ == "__main__":
    main()
