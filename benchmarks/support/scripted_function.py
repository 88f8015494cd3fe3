"""An endpoint that speaks Lambda's Invoke API, whose ranks are real and take the time that was written down for them.

Each environment is a process that runs the house's handler on the event, as slow as its script says; the store is
whatever the environment names. The time of every call is drawn beforehand: a factor that the run shares, and its own.
"""

import base64
import json
import math
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

MEMORY_MB = 1_769
RANK_S, COLD_S = 0.5, 1.0  # of a rank and of a new environment, before any spread
RUN_SPREAD, RANK_SPREAD = 0.05, 0.2  # standard deviations of the logarithm


def serve(event: dict[str, Any], seconds: float) -> tuple[dict[str, Any], float, bool]:
    """Run a rank in this process and take so long over its galaxies: its result, seconds, and whether it was cold."""
    began = time.perf_counter()
    from inference import handler

    cold = handler._served == 0
    if cold:
        time.sleep(COLD_S)
    predict = handler.predict_columns

    def slowly(*arguments: Any) -> Any:
        time.sleep(seconds)
        return predict(*arguments)

    with mock.patch.object(handler, "predict_columns", slowly):
        result = handler.lambda_handler(event, None)
    return result, time.perf_counter() - began, cold


class Script:
    """The times of the calls of one run after the other, and where they are answered."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self._random, self._lock, self._factor = random.Random(seed), threading.Lock(), 1.0  # noqa: S311 - no secret

    @contextmanager
    def a_run(self) -> Iterator[None]:
        """Draw the factor that a run's calls share, and let the Lambda clients of processes started here find them."""
        self._factor = math.exp(self._random.gauss(0.0, RUN_SPREAD))
        with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL_LAMBDA": self.url}):
            yield

    def seconds(self) -> float:
        """Seconds of the next call."""
        with self._lock:
            return RANK_S * self._factor * math.exp(self._random.gauss(0.0, RANK_SPREAD))


@contextmanager
def scripted(at_once: int, seed: int = 0) -> Iterator[Script]:
    """The endpoint while the block runs.

    Args:
        at_once: environments there are at most.
        seed: of the times.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=spawn) as environments:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

            def do_GET(self) -> None:
                facts = {"FunctionName": "scripted", "MemorySize": MEMORY_MB, "Timeout": 900, "State": "Active"}
                self._reply(json.dumps(facts).encode())

            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                result, seconds, cold = environments.submit(serve, event, script.seconds()).result()
                request_id = f"scripted-{event['RANK']}-{time.monotonic_ns()}"
                times = f"Duration: {seconds * 1e3:.2f} ms\tBilled Duration: {math.ceil(seconds * 1e3)} ms"
                report = (
                    f"REPORT RequestId: {request_id}\t{times}\tMemory Size: {MEMORY_MB} MB\tMax Memory Used: 300 MB"
                )
                if cold:
                    report += f"\tInit Duration: {COLD_S * 1e3:.2f} ms"
                tail = base64.b64encode(f"{report}\t\n".encode()).decode()
                self._reply(json.dumps(result).encode(), {"x-amzn-RequestId": request_id, "X-Amz-Log-Result": tail})

            def _reply(self, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(200)
                for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        script = Script(f"http://127.0.0.1:{server.server_port}", seed)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
