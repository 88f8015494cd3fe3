"""An HTTP endpoint that speaks Lambda's Invoke API; its answer to each attempt of each rank is written down before."""

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPORT = (
    "START RequestId: {0} Version: $LATEST\nEND RequestId: {0}\nREPORT RequestId: {0}\tDuration: 1500.50 ms\t"
    "Billed Duration: 1900 ms\tMemory Size: 10240 MB\tMax Memory Used: 512 MB\tInit Duration: 380.25 ms\t\n"
)


@dataclass
class Answer:
    """What a call is answered.

    Attributes:
        status: of HTTP.
        body: bytes, or what makes them of the event; None for the handler's own result.
        function_error: the header that says that the function failed.
        tail: whether the log tail comes with the reply.
        drop: `before` anything is read of it, or `after`, the rank being done meanwhile or not.
        wait_s: before it answers.
        cut: bytes left out at the end of the body.
        do: what the function does with the event before this body, given as it is, is its answer.
    """

    status: int = 200
    body: bytes | Callable[[dict], bytes] | None = None
    function_error: str | None = None
    tail: bool = True
    drop: str | None = None
    wait_s: float = 0.0
    cut: int = 0
    do: Callable[[dict], object] | None = None


class ScriptedLambda:
    """Serves answers; `work` makes the result of a rank's event."""

    def __init__(self, work):
        self.work = work
        self.answers = {}
        self.calls = []
        self.executions = []
        self.most_at_once = 0
        self.timeout_s = 900
        self.missing = False
        self._at_once = 0
        self._lock = threading.Lock()

    def script(self, rank, *answers):
        self.answers[rank] = list(answers)

    def next_answer(self, event):
        with self._lock:
            rank = int(event["RANK"])
            self.calls.append((rank, event["attempt"]))
            queue = self.answers.get(rank, [])
            return queue.pop(0) if queue else Answer()

    @contextmanager
    def counted(self):
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def attempts(self, rank):
        return [attempt for called, attempt in self.calls if called == rank]


def handler_of(endpoint):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, body, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def refuse(self, status, code):
            self.reply(status, json.dumps({"Message": code}).encode(), x_amzn_ErrorType=code)

        def do_GET(self):
            if endpoint.missing:
                return self.refuse(404, "ResourceNotFoundException")
            facts = {"FunctionName": "f", "MemorySize": 10240, "Timeout": endpoint.timeout_s, "State": "Active"}
            return self.reply(200, json.dumps(facts).encode(), Content_Type="application/json")

        def do_POST(self):
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = endpoint.next_answer(event)
            with endpoint.counted():
                self.answer(event, answer)

        def answer(self, event, answer):
            request_id = f"request-{event['RANK']}-{len(endpoint.calls)}"
            if answer.status != 200:
                code = "TooManyRequestsException" if answer.status == 429 else "ServiceException"
                return self.refuse(answer.status, "AccessDeniedException" if answer.status == 403 else code)
            if answer.drop != "before":
                endpoint.executions.append(int(event["RANK"]))
                result = endpoint.work(event, request_id) if answer.body is None else None
                if answer.do is not None:
                    answer.do(event)
            time.sleep(answer.wait_s)
            if answer.drop:
                linger = struct.pack("ii", 1, 0)  # closed with a reset, as a broken line is
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                return None
            body = answer.body if answer.body is not None else json.dumps(result).encode()
            body = body(event) if callable(body) else body
            headers = {"x_amzn_RequestId": request_id, "Content_Type": "application/json"}
            if answer.function_error:
                headers["X_Amz_Function_Error"] = answer.function_error
            if answer.tail:
                headers["X_Amz_Log_Result"] = base64.b64encode(REPORT.format(request_id).encode()).decode()
            if answer.cut:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: -answer.cut])
                self.close_connection = True
                return None
            return self.reply(200, body, **headers)

    return Handler


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # or a burst of connections is broken off before it reaches us


@contextmanager
def serving(work):
    """The endpoint, and its address."""
    endpoint = ScriptedLambda(work)
    server = _Server(("127.0.0.1", 0), handler_of(endpoint))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield endpoint, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
