"""S3 for a script whose store is a folder: a server on the loopback interface, over that folder, for this rank alone.

Scripts of the replaced system call boto3 and know of no folder. The server is ministack, which `cosmic emulate` runs
too. It works on links to the store's files, so that nothing is copied and nothing of the store is overwritten; what the
script wrote is put into the store when it has ended (docs/decisions/0026).
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from inference.contract.json_text import parse_json
from inference.contract.object_keys import RESERVED
from inference.contract.rank_event import RankEvent
from inference.errors import BadInput, RankFailed
from inference.scripts.process import background
from inference.storage.store import Store

INSTALL = (
    "scripts that call boto3 need S3, and on a folder store an endpoint of it: pip install 'cosmic-flows[emulator]'"
)
_HOST = "127.0.0.1"
_PREFIX = f".cosmic-s3-{re.sub('[^A-Za-z0-9]', '-', socket.gethostname())}-"  # locks are of one machine
_SURELY_LOCKED_S = 60.0
_ACCOUNT = "000000000000"  # whose buckets the server shows to keys that name no account
_SIDECAR = ".meta.json"
_STARTS_WITHIN_S = 30.0
_TRIES = 3
_ASKS = re.compile(rb"\bboto|\baws|s3", re.IGNORECASE)


def is_needed(store: Store, script: Path, environment: Mapping[str, str]) -> bool:
    """Whether a script asks for S3 and would find none: its store is a folder, and nobody names an endpoint.

    Args:
        store: the rank's.
        script: the copy of its folder, or of its only file; one that uses S3 says so somewhere in its Python files.
        environment: of the script.
    """
    if not store.is_local or any(name.startswith("AWS_ENDPOINT_URL") for name in environment):
        return False
    return any(_ASKS.search(text) for text in _sources(script))


def is_installed() -> bool:
    """Whether the server is there."""
    return importlib.util.find_spec("ministack") is not None


@contextmanager
def loopback_s3(store: Store, event: RankEvent, script: Path) -> Iterator[dict[str, str]]:
    """Serve the rank's buckets; what the script wrote there is in the store when the block is left.

    Args:
        store: a folder.
        event: the rank; its buckets are served, other ranks' endpoints apart.
        script: the copy of its folder, or of its only file; buckets of the store that it names are served, too.

    Yields:
        What AWS clients of the script shall find in its environment, and nothing else of AWS: the endpoint, and keys
        that are good for nothing else.

    Raises:
        RankFailed: the server does not start.
    """
    root = Path(store.root)
    _remove_abandoned(root)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "lock").open("w") as lock:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            buckets = {event.bucket, event.result_bucket, event.data_bucket} | _named(root, script)
            linked = {bucket: _link(store, bucket, folder / "s3" / _ACCOUNT / bucket) for bucket in sorted(buckets)}
            try:
                with _served(folder) as endpoint:
                    yield _environment(endpoint)
            finally:
                for bucket, links in linked.items():
                    _put_back(store, bucket, folder / "s3" / _ACCOUNT / bucket, links)


def _sources(script: Path) -> list[bytes]:
    found = script.rglob("*.py") if script.is_dir() else [script]
    return [source.read_bytes() for source in found if source.is_file()]


def _named(root: Path, script: Path) -> set[str]:
    """Buckets that are written into the script, as those of the replaced system have them."""
    text = b"\n".join(_sources(script))
    there = [path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return {name for name in there if re.search(rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w-])", text)}


def _environment(endpoint: str) -> dict[str, str]:
    hosts = [host for host in os.environ.get("NO_PROXY", "").split(",") if host and host != _HOST]
    direct = ",".join([*hosts, _HOST])
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": f"script-{secrets.token_hex(8)}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _link(store: Store, bucket: str, folder: Path) -> dict[Path, int]:
    """Links to the bucket's objects below `folder`, each with what the server wants to know of it; their inodes."""
    links: dict[Path, int] = {}
    folder.mkdir(parents=True)
    for stored in store.list(bucket, ""):
        source = store.local_path(bucket, stored.key)
        if source is None or RESERVED in stored.key.split("/") or stored.key.endswith(_SIDECAR):
            continue
        place = folder / stored.key
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, place)
        except FileNotFoundError:  # gone since the listing
            continue
        except OSError:  # a file system without links
            shutil.copyfile(source, place)
        etag = hashlib.md5(stored.etag.encode(), usedforsecurity=False).hexdigest()
        about = {"key": stored.key, "size": stored.size, "etag": f'"{etag}"'}
        place.with_name(place.name + _SIDECAR).write_text(json.dumps(about))
        links[place] = place.stat().st_ino
    return links


def _put_back(store: Store, bucket: str, folder: Path, links: Mapping[Path, int]) -> None:
    """Write what is new or other than it was into the store; what the script deleted stays there."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.endswith((_SIDECAR, ".tmp")) or links.get(path) == path.stat().st_ino:
            continue
        key = path.relative_to(folder).as_posix()
        with suppress(OSError, BadInput, AttributeError):  # a key that can be no path has another name on the disk
            key = str(parse_json(path.with_name(path.name + _SIDECAR).read_bytes(), "the note").get("key") or key)
        store.write(bucket, key, path)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    for attempt in range(1, _TRIES + 1):
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            port = probe.getsockname()[1]
        settings = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "BIND_HOST": _HOST,
            "GATEWAY_PORT": str(port),
            "SERVICES": "s3",
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
            "STATE_DIR": str(folder / "state"),
            "LOG_LEVEL": "ERROR",
        }
        endpoint, log = f"http://{_HOST}:{port}", folder / "log"
        with background([sys.executable, "-m", "ministack"], folder, settings, log) as is_running:
            if _answers(f"{endpoint}/_ministack/health", is_running):
                yield endpoint
                return
        if attempt == _TRIES:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise RankFailed(f"the script's S3 endpoint did not start: {lines[-1] if lines else 'no answer'}")


def _answers(url: str, is_running: Callable[[], bool]) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _STARTS_WITHIN_S
    while is_running() and time.monotonic() < until:
        with suppress(OSError), direct.open(url, timeout=1):
            return is_running()
        time.sleep(0.02)
    return False


def _remove_abandoned(root: Path) -> None:
    """Remove the links of this machine's workers that were killed: their locks are free."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < _SURELY_LOCKED_S:
                continue  # it may be locked in this moment
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
