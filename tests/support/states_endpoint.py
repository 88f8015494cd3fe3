"""A small HTTP endpoint that speaks the Step Functions API and answers what a test scripted, for exact faults."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

LOST = object()  # the request is taken and never answered


class Refusal:
    """An answer with status 400 and this error code."""

    def __init__(self, code, message=""):
        self.code, self.message = code, message


@contextmanager
def states_endpoint(**script):
    """Serve `script`: for each operation (`DescribeExecution=`) its answers in turn, the last one again and again.

    Yields the URL and the list of calls made, (operation, input) each. What is not scripted is refused.
    """
    calls = []
    lock = threading.Lock()
    left = {name: list(answers) if isinstance(answers, list) else [answers] for name, answers in script.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            form = parse_qs(body.decode())  # STS speaks in forms and XML
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2] or form["Action"][0]
            wanted = json.loads(body) if body.startswith(b"{") else {}
            with lock:
                calls.append((operation, wanted))
                answers = left.get(operation, [Refusal("AccessDeniedException")])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if callable(answer):
                answer = answer(wanted)
            if answer is LOST:
                self.close_connection = True
                return
            refused = isinstance(answer, Refusal)
            reply = {"__type": answer.code, "message": answer.message} if refused else answer
            data = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            self.send_response(400 if refused else 200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
