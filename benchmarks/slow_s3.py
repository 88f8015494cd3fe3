"""An endpoint that speaks as much of S3 as reading needs, no faster than a given rate: what a function's network gives.

`python -m benchmarks.slow_s3 FOLDER BYTES_PER_SECOND LATENCY_S` serves the buckets in a folder, prints its URL, and
ends with its standard input.
"""

import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CUT = 0
_SLICE = 128 << 10
_BUFFERED_S = 0.01  # what a line's buffers hold ready: a late sender leaves no gap on it
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_REGION": "us-east-1"}


class SlowS3(ThreadingHTTPServer):
    """Objects in memory, read over HTTP: HEAD and GET with Range and If-Match.

    Attributes:
        objects: content by "bucket/key"; may be changed while it serves.
        gets: the range of every GET, in the order they came in; None for a whole object.

    Args:
        objects: as above.
        bytes_per_second: of all answers together; None for no limit.
        latency_s: how long every answer takes to begin.
    """

    daemon_threads = True

    def __init__(
        self, objects: dict[str, bytes], bytes_per_second: float | None = None, latency_s: float = 0.0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects = objects
        self.gets: list[tuple[int, int] | None] = []
        self.latency_s = latency_s
        self._seconds_a_byte = 1 / bytes_per_second if bytes_per_second else 0.0
        self._lock, self._free_at = threading.Lock(), 0.0

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL is to be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator["SlowS3"]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def before(self, span: tuple[int, int] | None, headers: Message) -> int | None:
        """Called before a GET of this range is answered; may give the status to refuse it with, or CUT. For tests."""

    def wait_for(self, count: int) -> None:
        """Wait until the line has carried so many bytes more."""
        with self._lock:
            idle_since = max(time.perf_counter() - _BUFFERED_S, self._free_at)
            self._free_at = idle_since + count * self._seconds_a_byte
            free_at = self._free_at
        time.sleep(max(0.0, free_at - time.perf_counter()))


@lru_cache(maxsize=8)
def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SlowS3

    def do_HEAD(self) -> None:
        self._answer(None, body=False)

    def do_GET(self) -> None:
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        span = (int(asked[1]), int(asked[2]) + 1) if asked else None
        self.server.gets.append(span)
        status = self.server.before(span, self.headers)
        if status in {None, CUT}:
            self._answer(span, body=True, cut=status == CUT)
        else:
            self._refuse(status)

    def _answer(self, span: tuple[int, int] | None, *, body: bool, cut: bool = False) -> None:
        time.sleep(self.server.latency_s)
        content = self.server.objects.get(self.path.lstrip("/"))
        if content is None:
            return self._refuse(404)
        etag = _etag(content)
        if self.headers.get("If-Match", etag) != etag:
            return self._refuse(412)
        start, end = (span[0], min(span[1], len(content))) if span else (0, len(content))
        if span and start >= len(content):
            return self._refuse(416)
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.end_headers()
        if cut:
            end = (start + end) // 2
            self.close_connection = True
        for at in range(start, end if body else start, _SLICE):
            piece = content[at : min(at + _SLICE, end)]
            self.server.wait_for(len(piece))
            try:
                self.wfile.write(piece)
            except ConnectionError:
                self.close_connection = True  # the reader has gone
                break
        return None

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Serve a folder in a process of its own, so that the reader's process does only what a rank does."""
    folder, bytes_per_second, latency_s = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    objects = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with SlowS3(objects, bytes_per_second, latency_s).serving() as server:
        print(server.url, flush=True)
        os.read(0, 1)


if __name__ == "__main__":
    main()
