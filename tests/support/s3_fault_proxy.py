"""An HTTP proxy before an S3 endpoint, at which a test refuses requests or drops their answers."""

import http.client
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DENIED = (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
EXPIRED = (400, b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>")
NO_SUCH_KEY = (404, b"<Error><Code>NoSuchKey</Code><Message>not there yet</Message></Error>")
INTERNAL_ERROR = (500, b"<Error><Code>InternalError</Code><Message>try again</Message></Error>")


class S3FaultProxy:
    """Forwards requests.

    Attributes:
        refuse: takes method and path; returns the answer that replaces the endpoint's, or None to forward.
        lose: the same, but the endpoint has already carried the request out.
        refuse_key: takes the access key that signed a request; returns as `refuse` does.
        seen: (method, path) of every request.
    """

    def __init__(self):
        self.refuse = self.lose = lambda method, path: None
        self.refuse_key = lambda key: None
        self.seen = []


def _handler(proxy, place):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.seen.append((self.command, self.path))
            signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
            refused = proxy.refuse_key(signed[1] if signed else "") or proxy.refuse(self.command, self.path)
            if refused is None:
                line = http.client.HTTPConnection(place, timeout=60)
                line.request(self.command, self.path, body, dict(self.headers))
                answer = line.getresponse()
                status, headers, data = answer.status, answer.getheaders(), answer.read()
                line.close()
                lost = proxy.lose(self.command, self.path)
                if lost is None:
                    return self.answer(status, headers, data)
                refused = lost
            return self.answer(refused[0], [("Content-Type", "application/xml")], refused[1])

        def answer(self, status, headers, data):
            self.send_response(status)
            length = str(len(data))
            for name, value in headers:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    return Handler


@contextmanager
def s3_fault_proxy(url):
    """A proxy to http://host:port; yields it and its own address."""
    proxy = S3FaultProxy()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy, url.removeprefix("http://")))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
