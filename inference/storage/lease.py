"""A lease in the object store: one holder at a time, renewed while its process lives, gone by itself when it died.

A lease is a folder of numbered objects of which the highest counts. Whatever happens to it (taken, renewed, given back,
taken over) is the conditional creation of the next number, so of several who try at once one wins, on S3 as in a local
folder; nobody overwrites anything (docs/decisions/0013).
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.contract.json_text import parse_json
from inference.contract.validation import shorten
from inference.errors import BadInput, StoreError
from inference.storage.store import Store

UNATTENDED_S = 3_900.0  # a state machine's hour and five minutes (contract, "State machine")
LIFE_S = 60.0  # of an attended lease; it is renewed four times in that while
_TRIES = 20
_FOR_EVER = 2.0**35  # seconds since the epoch: the year 3058
_log = logging.getLogger(__name__)


class LeaseHeldError(StoreError):
    """Somebody else holds the lease; the message says who, where and until when."""


@dataclass(frozen=True)
class _Entry:
    """One numbered object: who holds the lease from then on; `expires` in seconds since the epoch, 0 for given back."""

    number: int
    holder: str = ""
    expires: float = 0.0
    host: str = ""
    process: str = ""

    def is_live(self) -> bool:
        return self.expires > time.time() and not _is_dead(self.process)


@dataclass(frozen=True)
class Lease:
    """A place in a bucket that one run at a time may hold.

    Attributes:
        store: the object store.
        bucket: the bucket.
        key: of the lease's own folder.
        holder: who asks: a run's id; asking again as the same holder renews.
        what: the place, for messages.
    """

    store: Store
    bucket: str
    key: str
    holder: str
    what: str = "this bucket"

    def take(self, seconds: float = UNATTENDED_S, *, attended: bool = False) -> None:
        """Take the lease for so many seconds, or renew it.

        Args:
            seconds: how long it stays this holder's if nobody renews it.
            attended: this process is the holder: with its death the lease is free at once for others on this machine.

        Raises:
            Held: somebody else holds it.
            StoreError: the store refuses.
        """
        for _ in range(_TRIES):
            entry = self._newest()
            if entry is not None and entry.holder != self.holder and entry.is_live():
                raise LeaseHeldError(self._told(entry))
            if self._follow(entry, seconds, attended=attended):
                return
        raise LeaseHeldError(f"{self.what}: other runs take it at the same moment; try again")

    def release(self) -> None:
        """Give the lease back, if it is still this holder's."""
        entry = self._newest()
        while entry is not None and entry.holder == self.holder and entry.expires > 0:
            if self._follow(entry, None):
                return
            entry = self._newest()

    @contextmanager
    def keep(self, seconds: float = LIFE_S) -> Iterator["Kept"]:
        """Hold the lease as this process: taken now, renewed by a thread, given back at the end.

        Raises:
            Held: somebody else holds it.
            StoreError: the store refuses.
        """
        self.take(seconds, attended=True)
        kept = Kept(self, seconds)
        try:
            yield kept
        finally:
            kept.stop()
            try:
                self.release()
            except StoreError as error:
                _log.warning("%s was not given back, and is free in %g s: %s", self.what, seconds, error)

    def renew(self, seconds: float) -> bool:
        """Renew what this process took; False where it was given back in this holder's name, by a machine's last step.

        Raises:
            Held: somebody else took it over.
            StoreError: the store refuses.
        """
        for _ in range(_TRIES):
            entry = self._newest()
            if entry is not None and entry.holder != self.holder:
                raise LeaseHeldError(
                    f"{self.what} was taken over by run {entry.holder}{_where(entry)}, because this run did not renew"
                    f" its hold for {seconds:g} s; it goes on where this one stops, and nothing is lost"
                )
            if entry is not None and entry.expires == 0:
                return False
            if self._follow(entry, seconds, attended=True):
                return True
        return True  # somebody in this holder's name keeps renewing it

    def _newest(self) -> _Entry | None:
        """The entry that counts; a damaged one is nobody's."""
        for _ in range(_TRIES):
            numbers = self._numbers()
            if not numbers:
                return None
            key = self._key(numbers[-1])
            try:
                document = parse_json(self.store.read(self.bucket, key), key)
                expires = float(document["expires"])
                if not 0 <= expires < _FOR_EVER:
                    raise ValueError
                return _Entry(
                    numbers[-1],
                    str(document["holder"]),
                    expires,
                    str(document.get("host", "")),
                    str(document.get("process", "")),
                )
            except (BadInput, ValueError, TypeError, KeyError, AttributeError, OverflowError):
                return _Entry(numbers[-1])
            except StoreError:
                if self.store.head(self.bucket, key) is not None:
                    raise  # else a newer one has just taken its place
        raise StoreError(f"{self.bucket}/{self.key} changes faster than it can be read")

    def _follow(self, entry: _Entry | None, seconds: float | None, *, attended: bool = False) -> bool:
        """Create the number after an entry; whether that is the one that counts now. None gives the lease back."""
        number = entry.number + 1 if entry else 1
        document: dict[str, Any] = {
            "holder": self.holder,
            "expires": 0 if seconds is None else time.time() + seconds,
            "host": f"{socket.gethostname()}, pid {os.getpid()}",
            "process": _this_process() if attended else "",
            "token": uuid.uuid4().hex,
        }
        if not self.store.create(self.bucket, self._key(number), json.dumps(document).encode()):
            return False
        numbers = self._numbers()
        if numbers[-1:] != [number]:  # what this one followed was long gone
            self.store.delete(self.bucket, [self._key(number)])
            return False
        self.store.delete(self.bucket, [self._key(older) for older in numbers[:-1]])
        return True

    def _numbers(self) -> list[int]:
        names = [stored.key.removeprefix(f"{self.key}/") for stored in self.store.list(self.bucket, self.key)]
        stems = [name.removesuffix(".lease") for name in names if name.endswith(".lease")]
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal())

    def _key(self, number: int) -> str:
        return f"{self.key}/{number:08d}.lease"

    def _told(self, entry: _Entry) -> str:
        until = time.strftime("%H:%M:%S UTC", time.gmtime(entry.expires))
        left = entry.expires - time.time()
        holder = f"run {shorten(entry.holder, 80)[1:-1]}{_where(entry)}"
        return (
            f"{self.what} is held by {holder}, for {left:.0f} s more (until {until}), and"
            " longer while it lives; nothing was written: wait for it, or stop it"
        )


class Kept:
    """A lease that a thread renews."""

    def __init__(self, lease: Lease, seconds: float) -> None:
        self._lease, self._seconds = lease, seconds
        self._over = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._renew, name=f"lease {lease.key}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """See that the lease is still ours, now: a machine that slept may have woken a moment ago.

        Raises:
            Held: another run took it over while this one could not renew it.
        """
        self._renew_once()
        if self._lost is not None:
            raise LeaseHeldError(self._lost)

    def stop(self) -> None:
        """Renew it no more."""
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / 4):
            if not self._renew_once():
                return

    def _renew_once(self) -> bool:
        """Whether there is anything left to be renewed."""
        try:
            return self._lease.renew(self._seconds)
        except LeaseHeldError as error:
            self._lost = str(error)
            return False
        except StoreError as error:
            _log.warning("%s could not be renewed, and is tried again: %s", self._lease.what, error)
            return True


def _where(entry: _Entry) -> str:
    return f" ({entry.host})" if entry.host else ""


def _this_process() -> str:
    """This process, told apart from every other one of its machine, before and after a restart; "" without /proc."""
    return _process(os.getpid())


def _process(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else f"{boot} {space} {pid} {fields[18]}"


def _is_dead(process: str) -> bool:
    """Whether a process of this very machine and process table is gone; of others nothing is known."""
    ours, theirs = _this_process().split(), process.split()
    if len(theirs) != 4 or ours[:2] != theirs[:2] or not theirs[2].isdecimal():
        return False
    return _process(int(theirs[2])) != process
