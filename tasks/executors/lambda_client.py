"""A client of Lambda's Invoke for thousands of calls at once: signing and HTTP in C (AWS CRT), callbacks, no threads.

Who asks, and where, botocore decides (`tasks.aws.session`); errors are botocore's, so that they read as everywhere
else. Every call is sent once: whoever calls decides whether to send it again.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlsplit

from awscrt import auth, http, io
from botocore import exceptions as failed
from botocore.awsrequest import HeadersDict
from botocore.httpsession import get_cert_path
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies

from inference.storage import aws_identity
from tasks.aws.report_line import Report, report_in
from tasks.aws.session import client
from tasks.executors.lambda_limits import MAX_PAYLOAD

CONNECT_TIMEOUT_S = 10
_EVENT_LOOPS = 2  # what runs in them outside C takes turns anyway
_SWEEP_S = 1.0


@dataclass
class Reply:
    """What came of one HTTP request: a reply, or what went wrong on the way.

    Attributes:
        started_at, ended_at: seconds since the epoch.
        body: of the reply.
        error_kind: of a function that failed, else None.
        report: the function's REPORT line, where it came with the reply.
        request_id: of the invocation; "" where Lambda ran nothing.
        failure: botocore's error, None where a function replied.
    """

    started_at: float
    ended_at: float = 0.0
    body: bytes = b""
    error_kind: str | None = None
    report: Report | None = None
    request_id: str = ""
    failure: BaseException | None = field(default=None, repr=False)


class Timers:
    """Runs actions later, all in one daemon thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        threading.Thread(target=self._run, daemon=True, name="cosmic-timers").start()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run the action so many seconds from now, unless stopped before."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), action))
            self._changed.notify()

    def stop(self) -> None:
        """Run nothing more."""
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._stopped:
                    return
                action = heapq.heappop(self._due)[2]
            action()


class LambdaClient:
    """Invokes one function; each HTTP/1.1 connection carries one call at a time and is used again.

    Args:
        function_name: name or ARN.
        read_timeout_s: how long a reply is waited for.
        timers: ends calls that are late.
    """

    def __init__(self, function_name: str, read_timeout_s: float, timers: Timers) -> None:
        functions = client("lambda")
        self._url = str(functions.meta.endpoint_url)
        self._region = str(functions.meta.region_name)
        self._credentials = aws_identity.session().get_credentials()
        place = urlsplit(self._url)
        self._host, self._secure = str(place.hostname), place.scheme == "https"
        self._port = place.port or (443 if self._secure else 80)
        self._path = f"{place.path.rstrip('/')}/2015-03-31/functions/{quote(function_name, safe='')}/invocations"
        self._headers = [
            ("Host", place.netloc),
            ("User-Agent", "cosmic-flows"),
            ("X-Amz-Invocation-Type", "RequestResponse"),
            ("X-Amz-Log-Type", "Tail"),
        ]
        self._read_timeout_s = read_timeout_s
        self._parser = create_parser("rest-json")
        self._connecting = self._connection_options(str(get_cert_path(True)))
        self._signer = auth.AwsCredentialsProvider.new_delegate(self._keys)
        self._idle: deque[http.HttpClientConnection] = deque()
        self._open: dict[_Exchange, float] = {}  # calls that were sent, oldest first, and until when a reply may come
        self._timers = timers
        timers.after(_SWEEP_S, self._end_late)

    def invoke(self, payload: bytes, on_reply: Callable[[Reply], None]) -> None:
        """Send an event and return at once.

        Args:
            payload: the event as JSON.
            on_reply: called once, from any thread, with the reply or with what went wrong.
        """
        _Exchange(self, payload, on_reply).sign()

    def request(self, payload: bytes) -> http.HttpRequest:
        """A request that is not signed yet."""
        headers = http.HttpHeaders([*self._headers, ("Content-Length", str(len(payload)))])
        return http.HttpRequest("POST", self._path, headers, BytesIO(payload))

    def signing(self) -> auth.AwsSigningConfig:
        """How a request is signed now."""
        return auth.AwsSigningConfig(credentials_provider=self._signer, region=self._region, service="lambda")

    def take_connection(self) -> "http.HttpClientConnection | Future[http.HttpClientConnection]":
        """An idle connection, or one that is being made."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.is_open():
                return connection
        return http.HttpClientConnection.new(self._host, self._port, **self._connecting)

    def give_connection(self, connection: http.HttpClientConnection) -> None:
        """Have the connection used again."""
        self._idle.append(connection)

    def sent(self, exchange: "_Exchange") -> None:
        """Note when the exchange is late."""
        self._open[exchange] = time.monotonic() + self._read_timeout_s

    def over(self, exchange: "_Exchange") -> None:
        """Forget the exchange."""
        self._open.pop(exchange, None)

    def refusal(self, status: int, headers: dict[str, str], body: bytes) -> Any:
        """An HTTP error of Lambda's as botocore's error."""
        answer = {"status_code": status, "headers": HeadersDict(headers), "body": body}
        return failed.ClientError(self._parser.parse(answer, None), "Invoke")

    def broken(self, error: BaseException, *, connected: bool) -> Any:
        """An error of the line as botocore's error; where there was no connection, nothing was sent."""
        if connected:
            return failed.ConnectionClosedError(endpoint_url=self._url)
        if "TLS" in str(error):
            return failed.SSLError(endpoint_url=self._url, error=error)
        return failed.EndpointConnectionError(endpoint_url=self._url, error=error)

    def too_late(self) -> Any:
        """The error of a call that was not answered in time."""
        return failed.ReadTimeoutError(endpoint_url=self._url)

    def _end_late(self) -> None:
        now = time.monotonic()
        late = [exchange for exchange, _ in itertools.takewhile(lambda item: item[1] <= now, self._open.copy().items())]
        for exchange in late:
            self.over(exchange)
            exchange.end_late()
        self._timers.after(_SWEEP_S, self._end_late)

    def _keys(self) -> auth.AwsCredentials:
        keys = self._credentials.get_frozen_credentials()
        return auth.AwsCredentials(keys.access_key, keys.secret_key, keys.token)

    def _connection_options(self, certificates: str) -> dict[str, Any]:
        loops = io.EventLoopGroup(_EVENT_LOOPS)
        bootstrap = io.ClientBootstrap(loops, io.DefaultHostResolver(loops))
        socket = io.SocketOptions()
        socket.connect_timeout_ms = CONNECT_TIMEOUT_S * 1000
        socket.keep_alive = True
        options: dict[str, Any] = {"bootstrap": bootstrap, "socket_options": socket}
        if self._secure:
            context = io.TlsContextOptions()
            bundle = aws_identity.session().get_config_variable("ca_bundle") or certificates
            context.override_default_trust_store_from_path(None, str(bundle))
            tls = io.ClientTlsContext(context).new_connection_options()
            tls.set_server_name(self._host)
            options["tls_connection_options"] = tls
        proxy = urlsplit(get_environ_proxies(self._url).get("https" if self._secure else "http", ""))
        if proxy.hostname:
            kind = http.HttpProxyConnectionType
            options["proxy_options"] = http.HttpProxyOptions(
                proxy.hostname,
                proxy.port or 80,
                auth_type=http.HttpProxyAuthenticationType.Basic
                if proxy.username
                else http.HttpProxyAuthenticationType.Nothing,
                auth_username=proxy.username,
                auth_password=proxy.password,
                connection_type=kind.Tunneling if self._secure else kind.Forwarding,
            )
        return options


class _Exchange:
    """One request and its reply: signed, given a connection, sent, answered."""

    def __init__(self, client: LambdaClient, payload: bytes, on_reply: Callable[[Reply], None]) -> None:
        self._client, self._payload, self._on_reply = client, payload, on_reply
        self._reply = Reply(time.time())
        self._status = 0
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._connection: http.HttpClientConnection | None = None
        self._ended = threading.Lock()  # taken by whoever ends it

    def sign(self) -> None:
        """Begin."""
        signed = auth.aws_sign_request(self._client.request(self._payload), self._client.signing())
        signed.add_done_callback(self._connect)

    def end_late(self) -> None:
        """Nobody has answered: break the line."""
        self._end(self._client.too_late())
        if self._connection is not None:
            self._connection.close()

    def _connect(self, signed: "Future[http.HttpRequest]") -> None:
        if (error := signed.exception()) is not None:
            return self._end(error)
        request = signed.result()
        connection = self._client.take_connection()
        if not isinstance(connection, Future):
            return self._send(request, connection)

        def connected(future: "Future[http.HttpClientConnection]") -> None:
            if (error := future.exception()) is not None:
                self._end(self._client.broken(error, connected=False))
            else:
                self._send(request, future.result())

        return connection.add_done_callback(connected)

    def _send(self, request: http.HttpRequest, connection: http.HttpClientConnection) -> None:
        self._connection = connection
        self._client.sent(self)
        stream = connection.request(request, self._on_headers, self._on_body)
        stream.completion_future.add_done_callback(self._completed)
        try:
            stream.activate()
        except Exception as error:  # noqa: BLE001 - the line broke before anything was sent
            self._end(self._client.broken(error, connected=False))

    def _on_headers(self, http_stream: Any, status_code: int, headers: list[tuple[str, str]], **_: Any) -> None:
        self._status, self._headers = status_code, {name.lower(): value for name, value in headers}

    def _on_body(self, http_stream: Any, chunk: bytes, **_: Any) -> None:
        self._size += len(chunk)
        if self._size > MAX_PAYLOAD:
            raise ValueError("the function's reply exceeds 6 MB")
        self._chunks.append(bytes(chunk))

    def _completed(self, completion: "Future[int]") -> None:
        self._client.over(self)
        if (error := completion.exception()) is not None:
            too_large = self._size > MAX_PAYLOAD
            failure = ValueError("the function's reply exceeds 6 MB") if too_large else None
            return self._end(failure or self._client.broken(error, connected=True))
        if self._connection is not None and self._connection.is_open():
            self._client.give_connection(self._connection)
        body = b"".join(self._chunks)
        if self._status >= 300:
            return self._end(self._client.refusal(self._status, self._headers, body))
        self._reply.body = body
        self._reply.request_id = self._headers.get("x-amzn-requestid", "")
        self._reply.error_kind = self._headers.get("x-amz-function-error")
        self._reply.report = report_in(self._headers.get("x-amz-log-result", ""))
        return self._end(None)

    def _end(self, failure: BaseException | None) -> None:
        if not self._ended.acquire(blocking=False):
            return
        self._client.over(self)
        self._reply.failure = failure
        self._reply.ended_at = time.time()
        self._on_reply(self._reply)
