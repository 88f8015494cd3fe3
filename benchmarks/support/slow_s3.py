"""An endpoint that speaks as much of S3 as a rank and a summary need, no faster than a given rate, as a network is.

`python -m benchmarks.support.slow_s3 FOLDER BYTES_PER_SECOND LATENCY_S` serves the buckets in a folder, prints its URL,
and ends with its standard input. A rate of "inf" is no limit.
"""

import hashlib
import os
import re
import subprocess
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
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from inference.storage.store import S3_ROOT, Store

CUT = 0
_SLICE = 128 << 10
_PAGE = 1000
_BUFFERED_S = 0.01  # what a line's buffers hold ready: a late sender leaves no gap on it
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_REGION": "us-east-1"}


class SlowS3(ThreadingHTTPServer):
    """Objects in memory over HTTP: HEAD, GET with Range and If-Match, PUT (conditional, in parts), DELETE, lists.

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
        self.parts: dict[tuple[str, int], bytes] = {}
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

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        time.sleep(self.server.latency_s)
        self.server.wait_for(len(content))
        key, asked = self._key(), self._asked()
        if "uploadId" in asked:
            self.server.parts[asked["uploadId"], int(asked["partNumber"])] = content
        elif self.headers.get("If-None-Match") == "*" and key in self.server.objects:
            return self._refuse(412)
        else:
            self.server.objects[key] = content
        self._begin(200, 0, ETag=_etag(content))
        return None

    def do_POST(self) -> None:
        """Begin an upload in parts, or end it (the key serves as its id), or delete many objects."""
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        time.sleep(self.server.latency_s)
        if "delete" in self._asked():
            names = re.findall(r"<Key>(.*?)</Key>", content.decode())
            for name in names:
                self.server.objects.pop(f"{self._key().rstrip('/')}/{unescape(name)}", None)
            return self._tell("DeleteResult", "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names))
        key, parts = self._key(), self.server.parts
        if "uploads" in self._asked():
            return self._tell("InitiateMultipartUploadResult", f"<UploadId>{escape(key)}</UploadId>")
        self.server.objects[key] = b"".join(parts.pop(part) for part in sorted(parts) if part[0] == key)
        return self._tell("CompleteMultipartUploadResult", f"<ETag>{_etag(self.server.objects[key])}</ETag>")

    def do_DELETE(self) -> None:
        time.sleep(self.server.latency_s)
        self.server.objects.pop(self._key(), None)
        self._begin(204, 0)

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _asked(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _tell(self, kind: str, what: str) -> None:
        body = f'<?xml version="1.0"?><{kind}>{what}</{kind}>'.encode()
        self._begin(200, len(body))
        self.wfile.write(body)

    def _list(self, asked: dict[str, str]) -> None:
        """A page of a listing (ListObjectsV2), its continuation token being the last key given."""
        time.sleep(self.server.latency_s)
        bucket = self._key().rstrip("/") + "/"
        prefix, after = bucket + asked.get("prefix", ""), asked.get("continuation-token", "")
        keys = sorted(key for key in self.server.objects if key.startswith(prefix) and key > after)
        page = keys[:_PAGE]
        entries = [
            f"<Contents><Key>{escape(key.removeprefix(bucket))}</Key><Size>{len(self.server.objects[key])}</Size>"
            f"<ETag>{_etag(self.server.objects[key])}</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in page
        ]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > _PAGE else ""
        self._tell(
            "ListBucketResult",
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated><KeyCount>{len(page)}</KeyCount>"
            f"{''.join(entries)}{more}",
        )

    def do_GET(self) -> None:
        asked = self._asked()
        if asked.get("list-type") == "2":
            return self._list(asked)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        span = (int(asked[1]), int(asked[2]) + 1) if asked else None
        self.server.gets.append(span)
        status = self.server.before(span, self.headers)
        if status in {None, CUT}:
            self._answer(span, body=True, cut=status == CUT)
        else:
            self._refuse(status)
        return None

    def _answer(self, span: tuple[int, int] | None, *, body: bool, cut: bool = False) -> None:
        time.sleep(self.server.latency_s)
        content = self.server.objects.get(self._key())
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
        self._begin(status, 0)

    def _begin(self, status: int, count: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(count))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow_store(root: Path, bytes_per_second: float, latency_s: float) -> Iterator[Store]:
    """Serve the buckets in a folder from a process of its own; S3 clients of this process talk to it meanwhile."""
    command = [sys.executable, "-m", "benchmarks.support.slow_s3", str(root), str(bytes_per_second), str(latency_s)]
    before = dict(os.environ)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": server.stdout.readline().strip()}
        try:
            yield Store(S3_ROOT)
        finally:
            os.environ.clear()
            os.environ |= before
            server.communicate()


def main() -> None:
    """Serve a folder in a process of its own, so that the reader's process does only what a rank does."""
    folder, bytes_per_second, latency_s = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    objects = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with SlowS3(objects, bytes_per_second, latency_s).serving() as server:
        print(server.url, flush=True)
        os.read(0, 1)


if __name__ == "__main__":
    main()
