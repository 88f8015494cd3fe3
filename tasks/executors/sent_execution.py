"""An execution is noted in the store before it is started, so that the run after a killed one finds it."""

import json
from dataclasses import dataclass

from inference.contract.object_keys import RESERVED
from inference.contract.rank_event import RankEvent
from inference.errors import BadInput
from inference.storage.store import Store


@dataclass(frozen=True)
class SentExecution:
    """An execution that a run started, or was about to start.

    Attributes:
        arn: of the execution.
        fingerprints: of the plan that it runs, by rank.
    """

    arn: str
    fingerprints: dict[int, str]


def _key(event: RankEvent) -> str:
    return f"{event.result_path}/{RESERVED}/execution.json"


def note_execution(event: RankEvent, sent: SentExecution) -> None:
    """Write one object for the whole execution; `event` is of any of its ranks.

    Raises:
        StoreError: the store cannot be written.
    """
    document = {"arn": sent.arn, "fingerprints": {str(rank): print_ for rank, print_ in sent.fingerprints.items()}}
    Store(event.store).write(event.result_bucket, _key(event), json.dumps(document).encode())


def noted_execution(event: RankEvent) -> SentExecution | None:
    """The execution noted under the event's result path; None if there is none, or the note cannot be read."""
    try:
        match Store(event.store).read_json(event.result_bucket, _key(event)):
            case {"arn": str(arn), "fingerprints": dict(prints)}:
                return SentExecution(arn, {int(rank): str(print_) for rank, print_ in prints.items()})
    except (BadInput, ValueError):
        pass
    return None


def forget_execution(event: RankEvent) -> None:
    """Remove the note: what it says is on the bill.

    Raises:
        StoreError: the store cannot be written.
    """
    Store(event.store).delete(event.result_bucket, [_key(event)])
