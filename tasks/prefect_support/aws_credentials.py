"""AWS credentials from a Prefect AwsCredentials block."""

import contextvars
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from inference.errors import BadInput

# Where AWS's clients look for keys before they ask a container's endpoint (botocore, "Configuring credentials").
_EARLIER_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_ROLE_S = 3600.0  # AssumeRole's own default
_KEYS_S = 1800.0  # how long keys without an end are used before the block is read again
_SESSION_KEYS_S = 60.0  # the same for keys with a session token, whose end the block does not tell
_LEFT_SHARE = 0.5  # of their time; keys with less left are fetched anew


@contextmanager
def credentials(block: str | None) -> Iterator[None]:
    """Give this process and its workers the identity of a Prefect AwsCredentials block.

    A profile is named to AWS's clients, which do the rest. Keys and assumed roles are handed out by a server on the
    loopback interface, as a container's are, so that they are fetched anew before they end, in every process.

    Args:
        block: its name; None leaves the standard chain alone.

    Raises:
        BadInput: there is no such block, or AWS refuses its role.
    """
    if block is None:
        yield
        return
    from botocore.exceptions import BotoCoreError, ClientError

    loaded = _load(block)
    variables = _place(loaded)
    if loaded.aws_access_key_id is None and not loaded.assume_role_arn:
        with _environment(variables | ({"AWS_PROFILE": loaded.profile_name} if loaded.profile_name else {})):
            yield
        return
    keys = _Keys(lambda: _load(block))
    try:
        keys.document()
    except (BotoCoreError, ClientError) as error:
        raise BadInput(f"the AwsCredentials block {block!r:.80} gives no keys: {error}") from None
    with _served(keys) as served, _environment(variables | served):
        yield


def _load(block: str) -> Any:
    from prefect_aws import AwsCredentials

    try:
        return AwsCredentials.load(block)
    except ValueError:
        raise BadInput(f"there is no AwsCredentials block {block!r:.80}: make one in the Prefect UI") from None


def _place(block: Any) -> dict[str, str]:
    """Region and endpoint of a block, as variables."""
    place = {}
    if block.region_name:
        place = {"AWS_REGION": block.region_name, "AWS_DEFAULT_REGION": block.region_name}
    if block.aws_client_parameters.endpoint_url:
        place["AWS_ENDPOINT_URL"] = str(block.aws_client_parameters.endpoint_url)
    return place


class _Keys:
    """The block's keys, as the document that a container's endpoint serves; fetched anew before they end."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._context = contextvars.copy_context()  # Prefect keeps there which server it talks to
        self._lock = threading.Lock()
        self._document: dict[str, str] = {}
        self._began = self._ends = 0.0

    def document(self) -> Mapping[str, str]:
        """AccessKeyId, SecretAccessKey, Token and Expiration; the last known ones while Prefect or AWS is away."""
        with self._lock:
            now = time.time()
            if self._ends - now < _LEFT_SHARE * (self._ends - self._began) or not self._document:
                try:
                    self._context.run(self._fetch, now)
                except Exception:
                    if now >= self._ends:
                        raise
            return self._document

    def _fetch(self, now: float) -> None:
        block = self._load()
        frozen = block.get_boto3_session().get_credentials().get_frozen_credentials()
        if block.assume_role_arn:
            lasting = float(block.assume_role_kwargs.get_params_override().get("DurationSeconds", _ROLE_S))
        else:
            lasting = _SESSION_KEYS_S if frozen.token else _KEYS_S
        self._began, self._ends = now, now + lasting
        self._document = {
            "AccessKeyId": frozen.access_key,
            "SecretAccessKey": frozen.secret_key,
            "Token": frozen.token or "",
            "Expiration": datetime.fromtimestamp(self._ends, UTC).isoformat(),
        }


@contextmanager
def _served(keys: _Keys) -> Iterator[dict[str, str]]:
    """Serve the keys to this machine's processes that know a token; yields the variables that lead there."""
    token = secrets.token_urlsafe(32)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing is written down."""

        def do_GET(self) -> None:
            """Answer with the keys, or refuse."""
            status, body = 403, b"{}"
            if secrets.compare_digest(self.headers.get("Authorization", ""), token):
                try:
                    status, body = 200, json.dumps(keys.document()).encode()
                except Exception as error:  # noqa: BLE001 - the client must be answered; it shows this text
                    status, body = 503, json.dumps({"message": type(error).__name__}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), name="cosmic-credentials", daemon=True).start()
        try:
            yield {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_CONFIG_FILE": os.devnull,
            }
        finally:
            server.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's environment with these variables, and without other sources of keys; afterwards as before."""
    names = {*variables, *_EARLIER_SOURCES} if {"AWS_PROFILE", "AWS_CONFIG_FILE"} & variables.keys() else {*variables}
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
