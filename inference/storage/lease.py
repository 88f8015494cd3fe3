"""A lease in the object store: one holder at a time, renewed while its process lives, free by itself when it has died.

A lease is a folder of numbered entries of which the highest counts. Every change (taken, renewed, released, taken over,
results committed) is the conditional creation of the next number, so of several processes that try at once one wins, on
S3 as in a local folder, and nothing is ever overwritten (docs/decisions/0013).

A holder's generation is its fencing token: it is higher than that of every holder before, and the entries name the
generation whose results count (`inference.rank_results.publish_summary`).
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.contract.object_keys import RESERVED
from inference.contract.validation import sanitize_text, shorten
from inference.errors import StoreError
from inference.storage.lease_entry import Entry
from inference.storage.process_identity import is_dead, this_process
from inference.storage.store import Store

LIFE_S = 60.0  # of an attended lease, which is renewed four times in that time
_TRIES = 20
_PAUSES_S = (1.0, 2.0, 4.0)  # as the steps of a run, which are tried again as often
_log = logging.getLogger(__name__)


class LeaseHeldError(StoreError):
    """Another holder has the lease; the message names it, its machine and how long it may last."""

    retryable = False  # by a step: what is lost stays lost


def lease_beside(folder: Path, holder: str, place: str) -> "Lease":
    """The lease on a local folder, in `<folder>.cosmic/`; the holder's name is made unique to this process."""
    store = Store(folder.parent)
    return Lease(store, ".", f"{folder.name}{RESERVED}", f"{holder} {uuid.uuid4().hex[:8]}", place)


@dataclass(frozen=True)
class Lease:
    """A place in a bucket that one holder at a time may have.

    Attributes:
        store: the object store.
        bucket: the bucket.
        key: of the lease's own folder.
        holder: who asks, such as a run's id.
        place: what is leased, for messages.
    """

    store: Store
    bucket: str
    key: str
    holder: str
    place: str = "this bucket"

    def take(self, seconds: float, *, attended: bool = False) -> "HeldLease":
        """Take the lease for so many seconds.

        Taken again in the same holder's name it keeps its generation, unless a process attends it: that one may not
        share its token with an earlier process of the same name.

        Args:
            seconds: how long it stays this holder's if nobody renews it.
            attended: this process is the holder: when it dies, others on this machine may take the lease at once.

        Raises:
            LeaseHeldError: another holder has it.
            StoreError: the store refuses.
        """
        for _ in range(_TRIES):
            last = self.newest()
            ours = last is not None and last.holder == self.holder and last.seconds > 0
            if last is not None and not ours and (left := self.seconds_left(last)) > 0:
                raise LeaseHeldError(self._refusal(last, left))
            last = last or Entry(0)
            entry = replace(
                last,
                holder=self.holder,
                seconds=seconds,
                generation=last.generation if ours and not attended else last.generation + 1,
                host=f"{socket.gethostname()}, pid {os.getpid()}",
                process=this_process() if attended else "",
            )
            if self.append(entry):
                return HeldLease(self, entry.generation)
        raise LeaseHeldError(f"{self.place} is being taken by other runs at the same moment; try again")

    def join(self) -> "HeldLease | None":
        """The lease as another process has it in this holder's name; None where this holder does not have it."""
        last = self.newest()
        if last is None or last.holder != self.holder or self.seconds_left(last) <= 0:
            return None
        return HeldLease(self, last.generation)

    def release(self) -> None:
        """Release the lease, if it is still this holder's."""
        last = self.newest()
        while last is not None and last.holder == self.holder and last.seconds > 0:
            if self.append(replace(last, seconds=0.0)):
                return
            last = self.newest()

    def _remove(self) -> None:
        """Remove a released lease altogether."""
        last = self.newest()
        if last is not None and last.seconds == 0:
            self.store.delete(self.bucket, [self._key(last.number)])
            folder = self.store.local_path(self.bucket, self.key)
            if folder is not None:
                with suppress(OSError):  # another holder may be there already
                    folder.rmdir()

    @contextmanager
    def keep(self, seconds: float = LIFE_S, *, temporary: bool = False) -> Iterator["HeldLease"]:
        """Hold the lease as this process: taken now, renewed by a thread, released at the end.

        Args:
            seconds: how long it lasts if this process stops renewing it.
            temporary: leave nothing of the lease behind, where its generations are not needed any more.

        Raises:
            LeaseHeldError: another holder has it.
            StoreError: the store refuses.
        """
        held = HeldLease(self, self.take(seconds, attended=True).generation, temporary=temporary)
        over = threading.Event()
        thread = threading.Thread(
            target=held.renew_until, args=(over, seconds / 4), name=f"lease {self.key}", daemon=True
        )
        thread.start()
        try:
            yield held
        finally:
            over.set()
            thread.join()
            try:
                held.release()
                if temporary:
                    self._remove()
            except StoreError as error:
                _log.warning("%s was not released, and is free in %g s: %s", self.place, seconds, error)

    def newest(self) -> Entry | None:
        """The entry that counts; None where the lease was never taken."""
        for _ in range(_TRIES):
            entries = self._entries()
            if not entries:
                return None
            number, written_at = entries[-1]
            try:
                return Entry.parse(number, self.store.read(self.bucket, self._key(number)), written_at)
            except StoreError:
                if self.store.head(self.bucket, self._key(number)) is not None:
                    raise  # otherwise a newer entry has just taken its place
        raise StoreError(f"{self.bucket}/{self.key} changes faster than it can be read")

    def seconds_left(self, entry: Entry) -> float:
        """How long the entry's holder still has the lease unless it renews it; 0 where it is free.

        Both times are the store's own, so no machine's clock is trusted: a holder whose clock is ahead does not hold
        longer, and an observer whose clock is ahead takes nothing early.
        """
        if entry.seconds <= 0 or is_dead(entry.process):
            return 0.0
        return max(entry.seconds - (self._store_time() - entry.written_at), 0.0)

    def append(self, entry: Entry) -> bool:
        """Create the entry after this one's number, with its content; whether that is the one that counts now."""
        number = entry.number + 1
        if not self.store.create(self.bucket, self._key(number), entry.to_json()):
            return False
        numbers = [found for found, _ in self._entries()]
        if numbers[-1:] != [number]:  # the entry before was read long ago, and later ones had been removed
            self.store.delete(self.bucket, [self._key(number)])
            return False
        self.store.delete(self.bucket, [self._key(older) for older in numbers[:-1]])
        return True

    def _store_time(self) -> float:
        """The store's clock, seconds since the epoch: that of an object which is written to see."""
        probe = f"{self.key}/{uuid.uuid4().hex}.time"
        self.store.write(self.bucket, probe, b"")
        try:
            stored = self.store.head(self.bucket, probe)
        finally:
            self.store.delete(self.bucket, [probe])
        if stored is None:
            raise StoreError(f"{self.bucket}/{probe} is gone a moment after it was written")
        return stored.modified_at

    def _entries(self) -> list[tuple[int, float]]:
        """Number and time of each entry, in order."""
        found = []
        for stored in self.store.list(self.bucket, self.key):
            stem = stored.key.removeprefix(f"{self.key}/").removesuffix(".lease")
            if stored.key.endswith(".lease") and stem.isascii() and stem.isdecimal() and len(stem) < 19:
                found.append((int(stem), stored.modified_at))
        return sorted(found)

    def _key(self, number: int) -> str:
        return f"{self.key}/{number:08d}.lease"

    def _refusal(self, entry: Entry, left: float) -> str:
        lives = ", and longer while it lives" if entry.process else ""
        stopped = "" if entry.process else '; after an execution that was stopped, see docs/aws.md, "Which executor"'
        return (
            f"{self.place} is held by run {shorten(entry.holder, 160)[1:-1]}{_machine(entry)}, for {left:.0f} s"
            f" more{lives}; nothing was written: wait for it, or stop it{stopped}"
        )


class HeldLease:
    """A lease in the hands of its holder.

    Attributes:
        lease: the lease.
        generation: the holder's fencing token.
        temporary: whoever had the lease in between left no trace of it, so one that is gone is lost.
    """

    def __init__(self, lease: Lease, generation: int, *, temporary: bool = False) -> None:
        self.lease, self.generation, self.temporary = lease, generation, temporary

    def check(self) -> None:
        """Renew the lease now: the machine may have slept until a moment ago.

        A store that is away is asked again for some seconds: what a run has computed is not given up for that.

        Raises:
            LeaseHeldError: another holder took it over.
            StoreError: the store refuses.
        """
        for pause_s in _PAUSES_S:
            try:
                return self._change()
            except LeaseHeldError:
                raise
            except StoreError as error:
                _log.warning("%s could not be renewed, and is tried again: %s", self.lease.place, error)
                time.sleep(pause_s)
        return self._change()

    def commit(self, generation: int | None = None) -> None:
        """Make this generation's results the ones that count, in one conditional write.

        Args:
            generation: another one's, or 0 to withdraw what was committed; default this holder's own.

        Raises:
            LeaseHeldError: another holder took the lease over; nothing was changed.
            StoreError: the store refuses.
        """
        self._change(committed=self.generation if generation is None else generation)

    def release(self) -> None:
        """Release the lease, if it is still in this holder's hands."""
        last = self.lease.newest()
        while last is not None and self._is_ours(last) and last.seconds > 0:
            if self.lease.append(replace(last, seconds=0.0)):
                return
            last = self.lease.newest()

    def renew_until(self, over: threading.Event, every_s: float) -> None:
        """Renew the lease every so many seconds, until `over` is set or there is nothing left to renew."""
        while not over.wait(every_s):
            try:
                self._change()
            except LeaseHeldError:
                return  # `check` or `commit` says so when it matters
            except StoreError as error:
                _log.warning("%s could not be renewed, and is tried again: %s", self.lease.place, error)

    def _change(self, **changes: Any) -> None:
        for _ in range(_TRIES):
            last = self.lease.newest()
            if last is None and not self.temporary:  # its folder was removed by hand
                last = Entry(0, self.lease.holder, LIFE_S, self.generation, process=this_process())
            if last is None or not self._is_ours(last):
                raise LeaseHeldError(f"{self.lease.place} was taken over by {_successor(last)}")
            if not changes and last.seconds == 0:
                return  # released in this holder's name, by a machine's last step
            if self.lease.append(replace(last, **changes)):
                return
        raise StoreError(f"{self.lease.place}: its lease changes faster than it can be renewed; try again")

    def _is_ours(self, entry: Entry) -> bool:
        return (entry.holder, entry.generation) == (self.lease.holder, self.generation)


def _successor(entry: Entry | None) -> str:
    if entry is None:
        return "another command, which has ended, because this one did not renew its lease in time; what is there stays"
    return (
        f"run {sanitize_text(entry.holder)[:160]}{_machine(entry)}, because this run did not renew its lease in time;"
        " that run goes on, and nothing is lost"
    )


def _machine(entry: Entry) -> str:
    return f" ({sanitize_text(entry.host)[:120]})" if entry.host else ""
