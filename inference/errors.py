"""What can go wrong, each as one sentence for a person.

The class decides the exit code (`flows.cli`): `BadInput` is found before the first write and exits 2; every
other `CosmicError` means that a run failed or is incomplete, and exits 1.
"""

import re
from typing import Any

_ENDLESS = re.compile(r"(\S{200})\S{101,}(\S{60})")  # which names of 255 bytes are not, nor most paths


class CosmicError(Exception):
    """Base of every error that this project raises on purpose; its message is one clear sentence."""

    def __init__(self, message: object = "") -> None:
        super().__init__(shorten_words(str(message)))


class BadInput(CosmicError):
    """Something outside is wrong and was noticed before anything was written: a request, a key, a checkpoint."""


class BadCheckpoint(BadInput):
    """A file of weights is unreadable, of another architecture, or holds what it should not."""


class BadPartition(CosmicError):
    """A partition cannot be read or holds what it should not; fails its rank, and the message names the file."""


class StoreError(CosmicError):
    """The object store refused or lost an operation: no room, no permission, no such object."""


class RankFailed(CosmicError):
    """A rank's function failed, died or ran out of time; the message is the function's own."""


class RunIncomplete(CosmicError):
    """Ranks are missing after the fan-out.

    Attributes:
        document: the run's document, with the missing and the failed ranks.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        stopped = f"the run was stopped: {document['stopped']}; " if document.get("stopped") else ""
        super().__init__(
            f"{stopped}{missing_of(document)};"
            " the results of the others are kept, and the same request runs only the missing ones"
        )
        self.document = document


def shorten_words(sentence: str) -> str:
    """A sentence whose words can be read: of a name or a value from outside without end, its beginning and its end.

    >>> len(shorten_words(f"there is no {'x' * 5_000}.pt"))
    275
    """
    return _ENDLESS.sub(r"\1...\2", sentence)


def ranks_missing(missing: int, planned: int) -> str:
    """How many ranks are missing, as a clause.

    >>> ranks_missing(1, 8), ranks_missing(2, 1200), ranks_missing(1, 1)
    ('1 of 8 ranks is missing', '2 of 1,200 ranks are missing', '1 of 1 rank is missing')
    """
    return f"{missing:,} of {planned:,} rank{'s' * (planned != 1)} {'is' if missing == 1 else 'are'} missing"


def missing_of(document: dict[str, Any]) -> str:
    """Which ranks of a run are missing, each cause with the ranks that it struck, as a clause."""
    causes: dict[str, list[int]] = {}
    for failure in document["failed_ranks"]:
        # What stopped the run is said once, before this.
        stopped = document.get("stopped") and failure["error"] == f"stopped: {document['stopped']}"
        causes.setdefault("stopped" if stopped else failure["error"], []).append(failure["rank"])
    causes_shown = [
        f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:10]))}"
        + (f" and {len(ranks) - 10} more: {error}" if len(ranks) > 10 else f": {error}")
        for error, ranks in list(causes.items())[:5]
    ]
    unnamed = len(document["missing_ranks"]) - sum(map(len, list(causes.values())[:5]))
    if unnamed:
        causes_shown.append(f"{unnamed} more" if causes_shown else "no cause is known")
    return f"{ranks_missing(len(document['missing_ranks']), document['ranks_planned'])} ({'; '.join(causes_shown)})"
