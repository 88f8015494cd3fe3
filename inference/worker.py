"""A local worker process: `python -m inference.worker` calls `lambda_handler` for each event it is sent.

One JSON document a line, events in on standard input, replies out on what was standard output when the process started;
prints of the code that it runs go to standard error. A reply is `{"result": ...}` or, in Lambda's own words,
`{"errorType": ..., "errorMessage": ...}`; a line that is not JSON gets the latter, too. The worker ends when its input
does, so it does not outlive its parent.
"""

import json
import os
import shutil
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.contract.json_text import parse_json
from inference.errors import BadInput


@dataclass(frozen=True)
class LocalContext:
    """Lambda's context object, as far as the handler reads it."""

    memory_limit_in_mb: int = 0
    aws_request_id: str = field(default_factory=lambda: f"local-{uuid.uuid4()}")
    limit_s: float = field(default_factory=lambda: float(os.environ.get("COSMIC_RANK_TIMEOUT", "3600")))
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        """Until the worker's parent stops the rank."""
        return int(max(self.limit_s - (time.monotonic() - self.started), 0.0) * 1000)


def reply_to(event: object, context: LocalContext | None = None) -> dict[str, Any]:
    """Call the handler as Lambda would, errors turned into Lambda's error reply."""
    from inference.handler import lambda_handler

    context = context or LocalContext()
    try:
        reply: dict[str, Any] = {"result": lambda_handler(event, context)}
    except MemoryError:
        reply = {"errorType": "MemoryError", "errorMessage": "the worker ran out of memory"}
    except Exception as error:  # noqa: BLE001 - a worker reports whatever its rank raised
        reply = _error(error)
    return reply | {"request_id": context.aws_request_id}


def _error(error: Exception) -> dict[str, Any]:
    return {"errorType": type(error).__name__, "errorMessage": str(error) or repr(error)}


def _reply_to_line(line: bytes) -> dict[str, Any]:
    try:
        event = parse_json(line, "the event")
    except BadInput as error:
        return _error(error)
    return reply_to(event)


def main() -> None:
    """Serve events until standard input ends; then remove the scratch folder that a dead parent would leave."""
    try:
        _serve()
    finally:
        if scratch := os.environ.get("COSMIC_SCRATCH"):
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):  # another worker's folder is in there, too
                Path(scratch).parent.rmdir()


def _serve() -> None:
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    replies.write(json.dumps({"ready": os.getpid()}) + "\n")
    for line in sys.stdin.buffer:
        replies.write(json.dumps(_reply_to_line(line)) + "\n")


if __name__ == "__main__":
    main()
