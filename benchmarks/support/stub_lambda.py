"""An endpoint that speaks as much of Lambda as a fan-out needs, cheap enough for a thousand calls in flight at once.

`python -m benchmarks.support.stub_lambda SECONDS [CERTIFICATE KEY]` answers every invocation after so long with a valid
rank result and its REPORT line, over TLS where it is given a certificate. It prints its URL, and ends with its standard
input. How long ranks take can be set, and what it served be asked for (`Stub`).
"""

import asyncio
import base64
import dataclasses
import json
import os
import random
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.support.certificate import write_certificate
from inference.contract.rank_result import RankResult

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ZEROS = {int: 1, float: 0.0, bool: False}
_RESULT = RankResult(
    **{field.name: _ZEROS.get(field.type, "-") for field in dataclasses.fields(RankResult)}  # type: ignore[arg-type]
    | {"script_record": None}
).to_wire()
_FACTS = json.dumps({"FunctionName": "stub", "MemorySize": 10_240, "Timeout": 900, "State": "Active"}).encode()


class _Function:
    """What calls take, and what was served.

    Attributes:
        seconds: of every call, unless `own` has the rank's.
        own: seconds of each rank's first call; a later one takes a time drawn from all of them.
        calls, billed_s: served since this was made; a call whose caller has left counts in full, as Lambda bills it.
    """

    def __init__(self, seconds: float, own: list[float] | None = None, seed: int = 0) -> None:
        self.seconds, self.own, self.calls, self.billed_s = seconds, own, 0, 0.0
        self._called: set[int] = set()
        self._random = random.Random(seed)  # noqa: S311 - draws times, keeps no secret

    def seconds_of(self, rank: int) -> float:
        """How long this call is to take."""
        seconds = self.seconds
        if self.own is not None:
            seconds = self._random.choice(self.own) if rank in self._called else self.own[rank]
            self._called.add(rank)
        self.calls += 1
        self.billed_s += seconds
        return seconds

    def reply(self, event: dict[str, Any], seconds: float) -> bytes:
        """The answer to a call that took so long, to the last byte."""
        request_id = f"stub-{event['RANK']}-{self.calls}"
        now = time.time()
        fields = {
            "rank": int(event["RANK"]),
            "world_size": int(event["WORLD_SIZE"]),
            "attempt": event["attempt"],
            "fingerprint": event["fingerprint"],
            "request_id": request_id,
            "started_at": now - seconds,
            "ended_at": now,
            "wall_total_s": seconds,
        }
        times = f"Duration: {seconds * 1e3:.2f} ms\tBilled Duration: {seconds * 1e3:.0f} ms"
        report = f"REPORT RequestId: {request_id}\t{times}\tMemory Size: 10240 MB\tMax Memory Used: 512 MB\t\n"
        headers = (
            f"x-amzn-RequestId: {request_id}\r\nX-Amz-Log-Result: {base64.b64encode(report.encode()).decode()}\r\n"
        )
        return _answer(json.dumps(_RESULT | fields).encode(), headers)


def _answer(body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, as boto3 sends them."""

    def __init__(self, server: "_Server") -> None:
        self._server, self._received = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        delay, answer = self._server.answer(head.split(b" ", 2)[1], body)
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


class _Server:
    def __init__(self, seconds: float) -> None:
        self.function = _Function(seconds)

    def answer(self, path: bytes, body: bytes) -> tuple[float, bytes]:
        """After how many seconds to answer a request, and what."""
        if path.endswith(b"/invocations"):
            event = json.loads(body)
            seconds = self.function.seconds_of(int(event["RANK"]))
            return seconds, self.function.reply(event, seconds)
        if path == b"/stub/plan":
            self.function = _Function(**json.loads(body))
        if path.startswith(b"/stub/"):
            return 0.0, _answer(json.dumps({"calls": self.function.calls, "billed_s": self.function.billed_s}).encode())
        return 0.0, _answer(_FACTS)


class Stub:
    """The endpoint in a process of its own, as its user sees it: `url`, what to answer, what was served."""

    def __init__(self, url: str, trusted: Path | None = None) -> None:
        self.url = url
        self._tls = None if trusted is None else ssl.create_default_context(cafile=trusted)

    def plan(self, seconds: float, own: list[float] | None = None, seed: int = 0) -> None:
        """Count anew; from now on calls take `seconds`, or a rank's first call its `own` and later ones a drawn one."""
        self._ask("plan", {"seconds": seconds, "own": own, "seed": seed})

    def served(self) -> dict[str, Any]:
        """`calls` and `billed_s` since the last plan."""
        return self._ask("served", {})

    def _ask(self, what: str, document: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(document).encode()
        with urllib.request.urlopen(f"{self.url}/stub/{what}", body, context=self._tls) as reply:  # noqa: S310
            answer: dict[str, Any] = json.loads(reply.read())
        return answer


@contextmanager
def serving(seconds: float, *, tls: bool = False) -> Iterator[Stub]:
    """The endpoint while the block runs; AWS clients of this process and its children talk to it.

    Args:
        seconds: of every call.
        tls: speak TLS, with a certificate that these clients trust for as long.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        files = write_certificate(Path(folder)) if tls else ()
        command = [sys.executable, "-m", "benchmarks.support.stub_lambda", str(seconds), *map(str, files)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            stub = Stub(server.stdout.readline().strip(), *files[:1])
            os.environ.pop("AWS_PROFILE", None)
            os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": stub.url}
            if files:
                os.environ["AWS_CA_BUNDLE"] = str(files[0])
            try:
                yield stub
            finally:
                os.environ.clear()
                os.environ |= before
                server.communicate()


async def _serve(seconds: float, *files: str) -> None:
    loop, server = asyncio.get_running_loop(), _Server(seconds)
    tls = None
    if files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*files)
    listener = await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, backlog=4096, ssl=tls)
    scheme = "https" if files else "http"
    print(f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, os.read, 0, 1)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), *sys.argv[2:]))
