"""The one protocol for sending bytes from rank to rank, and the way over the store and over Redis."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

from inference.errors import RankFailed
from inference.messages.rendezvous import Rendezvous

_REMOVED_TOGETHER = 100  # objects; the run's end removes the rest
_KEPT_S = 3600  # Redis forgets a message that nobody took


class Transport(ABC):
    """Sends bytes; messages from one rank to another arrive in the order in which they were sent."""

    @abstractmethod
    def send(self, data: bytes, to: int) -> None:
        """Send without waiting for the receiver.

        Raises:
            RankFailed: the other rank is missing.
        """

    @abstractmethod
    def recv(self, source: int) -> bytes:
        """Wait for the next message of a rank.

        Raises:
            RankFailed: it does not come in time, or a rank has failed.
        """


class StoreTransport(Transport):
    """A message is an object, made by conditional creation; its receiver removes a hundred at a time."""

    def __init__(self, rank: int, rendezvous: Rendezvous) -> None:
        self._rank, self._rendezvous = rank, rendezvous
        self._sent, self._received = Counter[int](), Counter[int]()
        self._taken: list[str] = []

    def send(self, data: bytes, to: int) -> None:
        """Put an object, numbered for its receiver."""
        place, key = self._rendezvous, f"{self._rendezvous.folder}/{self._rank}-{to}-{self._sent[to]}"
        self._sent[to] += 1
        if not place.store.create(place.bucket, key, data):
            raise RankFailed(f"rank {self._rank} sends twice: each rank takes part once")

    def recv(self, source: int) -> bytes:
        """Take the next object."""
        place, key = self._rendezvous, f"{self._rendezvous.folder}/{source}-{self._rank}-{self._received[source]}"
        self._received[source] += 1
        data = place.wait(lambda: place.store.find(place.bucket, key), f"no message from rank {source} has come")
        self._taken.append(key)
        if len(self._taken) == _REMOVED_TOGETHER:
            place.store.delete(place.bucket, self._taken)
            self._taken = []
        return data


class RedisTransport(Transport):
    """A list on a Redis server for each pair of ranks, through redis-py.

    Args:
        rank: this rank.
        rendezvous: names the gang and says who failed.
        url: of the server; its password is COSMIC_REDIS_PASSWORD of the environment.

    Raises:
        RankFailed: there is no redis-py, or the server does not answer.
    """

    def __init__(self, rank: int, rendezvous: Rendezvous, url: str) -> None:
        try:
            import redis
        except ModuleNotFoundError:
            raise RankFailed("messages over Redis need the library redis where ranks run: pip install redis") from None
        self._rank, self._rendezvous = rank, rendezvous
        self._error = redis.RedisError
        password = os.environ.get("COSMIC_REDIS_PASSWORD")
        self._redis: Any = redis.Redis.from_url(url, password=password, socket_connect_timeout=rendezvous.timeout_s)
        self._where = url
        self._asked(self._redis.ping)

    def _asked(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except self._error as error:
            raise RankFailed(f"Redis at {self._where} does not answer: {error}") from None

    def _key(self, source: int, to: int) -> str:
        return f"{self._rendezvous.folder}/{source}-{to}"

    def send(self, data: bytes, to: int) -> None:
        """Append to the list."""
        both = self._redis.pipeline()
        both.rpush(self._key(self._rank, to), data)
        both.expire(self._key(self._rank, to), _KEPT_S)
        self._asked(both.execute)

    def recv(self, source: int) -> bytes:
        """Take the first of the list."""
        for seconds in self._rendezvous.turns(f"no message from rank {source} has come"):
            taken = self._asked(self._redis.blpop, [self._key(source, self._rank)], seconds)
            if taken is not None:
                return bytes(taken[1])
        raise AssertionError  # turns end with an exception
