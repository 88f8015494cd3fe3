"""A local worker whose answers are written down beforehand, per rank and attempt; every call is logged.

COSMIC_SCRIPT names a JSON file {"<rank>": ["die", "ok", ...]}; the n-th call for a rank, by the log, gets the n-th
word, and "ok" after the last. Calls are appended to the same name with .log: rank, attempt, process.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

from inference.contract.rank_event import RankEvent
from tests.support.wire_examples import RESULT


def answer(word, event):
    result = dataclasses.replace(
        RESULT,
        rank=event.rank,
        world_size=event.world_size,
        attempt=event.attempt,
        fingerprint=event.fingerprint,
        data_path=event.data_paths[0],
        started_at=time.time(),
        ended_at=time.time(),
        worker=os.environ.get("CUDA_VISIBLE_DEVICES", RESULT.worker),
    )
    match word:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(3)
        case "hang":
            time.sleep(60)
        case "slow":
            time.sleep(0.5)
        case "garbage":
            return "this is not JSON"
        case "text":
            return json.dumps("Inference finished")
        case "fail":
            return json.dumps({"errorType": "StoreError", "errorMessage": "the store is away"})
        case "bad input":
            return json.dumps({"errorType": "BadPartition", "errorMessage": "1.pt is truncated"})
        case "other rank":
            result = dataclasses.replace(result, rank=(event.rank + 1) % event.world_size)
        case "no result":
            return json.dumps({"result": "Inference finished"})
    return json.dumps({"result": result.to_wire(), "request_id": "scripted"})


def answer_to(wire):
    """Log the call and give the answer that is its turn."""
    script = Path(os.environ["COSMIC_SCRIPT"])
    log = script.with_suffix(".log")
    event = RankEvent.from_wire(wire)
    with log.open("a") as out:
        out.write(f"{event.rank} {event.attempt} {os.getpid()}\n")
    calls = [int(entry.split()[0]) for entry in log.read_text().splitlines()].count(event.rank)
    plan = json.loads(script.read_text()).get(str(event.rank), [])
    return answer(plan[calls - 1] if calls <= len(plan) else "ok", event)


def run_rank(wire, timeout_s):
    """The same for a Dask worker, in place of `tasks.executors.dask_tasks.run_rank`."""
    return json.loads(answer_to(wire)) | {"seconds": 0.01}


def main():
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(answer_to(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
