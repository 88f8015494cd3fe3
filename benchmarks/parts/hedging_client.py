"""One process that replays times of ranks on the stub endpoint, with backups for late ranks and without in turn.

`python -m benchmarks.parts.hedging_client CONCURRENCY SEEDS` reads the times, a JSON list of seconds by rank, and
prints one JSON document. Server and endpoint come from the environment.
"""

import json
import os
import sys

from benchmarks.parts.fanout_client import FUNCTION, events_of, in_a_flow
from benchmarks.support.stub_lambda import Stub
from tasks.dispatch.dispatcher import Limits
from tasks.dispatch.grouping import ranks_per_task
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.fan_out import fan_out


def _turn(stub: Stub, times: list[float], seed: int, concurrency: int, *, hedging: bool) -> dict[str, float]:
    """Makespan of the ranks, seconds that the endpoint served, and seconds on our own bill."""
    stub.plan(0.0, times, seed)
    executor, events = LambdaExecutor(FUNCTION, concurrency), events_of(len(times))
    executor.check()
    limits = Limits(hedging=hedging)
    measured = in_a_flow(lambda: fan_out(events, executor, ranks_per_task(len(events)), limits)[0])
    ledger, served = measured["ledger"], stub.served()
    assert len(ledger.done) == len(times), ledger.failures()
    ends: dict[int, float] = {}
    for call in ledger.invocations:
        if call.result is not None:
            ends[call.rank] = min(ends.get(call.rank, call.ended_at), call.ended_at)
    return {
        "makespan_s": max(ends.values()) - min(call.started_at for call in ledger.invocations),
        "fan_out_s": measured["s"],
        "served_s": served["billed_s"],
        "billed_s": sum(call.billed_s for call in ledger.invocations),
        "backups": served["calls"] - len(times),
    }


def main() -> None:
    """Replay the times on standard input; print what each turn took."""
    stub, times = Stub(os.environ["AWS_ENDPOINT_URL"]), json.loads(sys.stdin.read())
    concurrency, seeds = map(int, sys.argv[1:3])
    ways, turns = {"plain": False, "hedged": True}, []
    for seed in range(seeds):
        order = ways if seed % 2 else reversed(ways)
        turns.append({way: _turn(stub, times, seed, concurrency, hedging=ways[way]) for way in order})
    print(json.dumps(turns))


if __name__ == "__main__":
    main()
