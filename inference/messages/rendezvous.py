"""Where ranks meet: each leaves a note in the store, and one that failed says so there."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from inference.contract.object_keys import RESERVED
from inference.errors import RankFailed
from inference.storage.store import Store

T = TypeVar("T")
LOOK_S = 2.0  # between two looks for a rank that failed
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1


class Rendezvous:
    """The notes of a gang's ranks.

    Args:
        store: the store of the run.
        bucket, folder: where the gang's notes lie.
        name: of the communicator; a script may make several.
        world_size: number of ranks.
        timeout_s: seconds that a rank waits for another.
    """

    def __init__(self, store: Store, bucket: str, folder: str, name: str, world_size: int, timeout_s: float) -> None:
        self.store, self.bucket, self.world_size, self.timeout_s = store, bucket, world_size, timeout_s
        self.folder = f"{folder}/{name}"
        self._failed = f"{folder}/failed"

    def come(self, rank: int, note: Any) -> None:
        """Leave a rank's note.

        Raises:
            RankFailed: it has come before.
        """
        if not self.store.create(self.bucket, f"{self.folder}/{rank}", json.dumps(note).encode()):
            raise RankFailed(f"rank {rank} has come twice: each rank takes part once")

    def note_of(self, rank: int) -> Any:
        """Another rank's note, waiting for it.

        Raises:
            RankFailed: it does not come in time, or a rank has failed.
        """

        def look() -> Any:
            return self.store.read_json(self.bucket, f"{self.folder}/{rank}")

        return self.wait(look, f"rank {rank} of {self.world_size} has not come")

    def wait(self, look: Callable[[], T | None], what_is_missing: str) -> T:
        """Look again and again until there is something.

        Args:
            look: None while there is nothing.
            what_is_missing: a clause, for the sentence of the failure.

        Raises:
            RankFailed: nothing came in time, or a rank has failed.
        """
        pause = _FIRST_PAUSE_S
        for _ in self.turns(what_is_missing):
            found = look()
            if found is not None:
                return found
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        raise AssertionError  # turns end with an exception

    def turns(self, what_is_missing: str) -> Iterator[float]:
        """Turns of waiting, each with the seconds until the next look for failed ranks; see `wait`."""
        began = looked_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now - began > self.timeout_s:
                raise RankFailed(f"{what_is_missing} within {self.timeout_s:g} s")
            if now - looked_at > LOOK_S:
                looked_at = now
                if (failed := self.store.read_json(self.bucket, self._failed)) is not None:
                    raise RankFailed(f"{what_is_missing}: rank {failed['rank']} has failed")
            yield min(LOOK_S, self.timeout_s)


def clear_messages(store: Store, bucket: str, gang: str) -> None:
    """Remove what a gang has left in the store."""
    store.delete(bucket, [stored.key for stored in store.list(bucket, f"{RESERVED}/messages/{gang}")])


def say_failed(store: Store, bucket: str, folder: str, rank: int) -> None:
    """Tell the others that a rank has failed; the first that does is named."""
    store.create(bucket, f"{folder}/failed", json.dumps({"rank": rank}).encode())
