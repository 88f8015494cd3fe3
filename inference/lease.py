"""A lease in the object store: one holder at a time, by conditional create, gone by itself when it expires."""

import json
import time
from dataclasses import dataclass

from inference.errors import StoreError
from inference.fields import brief
from inference.store import Store

SECONDS = 3_900.0  # a state machine's hour and five minutes (contract, "State machine")


@dataclass(frozen=True)
class Lease:
    """A place in a bucket that one run at a time may hold.

    Attributes:
        store: the object store.
        bucket: the bucket.
        key: of the lease's own object.
        holder: who asks: a run's id; asking again as the same holder renews.
    """

    store: Store
    bucket: str
    key: str
    holder: str

    def take(self, seconds: float = SECONDS) -> None:
        """Take the lease for so many seconds, or renew it.

        Raises:
            StoreError: somebody else holds it; the message says who and until when.
        """
        data = json.dumps({"holder": self.holder, "expires": time.time() + seconds}).encode()
        if self.store.create(self.bucket, self.key, data):
            return
        holder, expires = self._held()
        left = expires - time.time()
        if holder != self.holder and left > 0:
            raise StoreError(
                f"{self.bucket}/{self.key}: run {brief(holder, 80)[1:-1]} holds this bucket for {left:.0f} s more;"
                " wait for it, or remove that object if the run is dead"
            )
        self.store.write(self.bucket, self.key, data)
        if self._held()[0] != self.holder:  # two saw the same lease expired, and the other wrote last
            raise StoreError(f"{self.bucket}/{self.key}: another run took this bucket at the same moment; try again")

    def release(self) -> None:
        """Give the lease back, if it is still this holder's."""
        if self.store.head(self.bucket, self.key) is not None and self._held()[0] == self.holder:
            self.store.delete(self.bucket, [self.key])

    def _held(self) -> tuple[str, float]:
        try:
            document = json.loads(self.store.read(self.bucket, self.key))
            return str(document["holder"]), float(document["expires"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return "", 0.0  # damaged: nobody's
