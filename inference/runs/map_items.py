"""What a state machine's map reads: the list of rank events, handed over and taken back as the replaced system did.

Its first function answered `{"statusCode": 200, "body": ...}`, and the body came in two forms: S3_BUCKET and S3_KEY of
the list, for a distributed map, and in older machines the list itself, for an inline one (contract, "State machine").
Its last function was given the same answer (docs/decisions/0026).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inference.contract.object_keys import checked_bucket, checked_key
from inference.contract.rank_event import RankEvent
from inference.contract.validation import shorten, text_of
from inference.errors import BadInput
from inference.storage.store import Store

FORMS = ("s3", "inline")
_STATE_ENDS = 256 * 1024  # bytes that a state may hand on
_KEPT = 8 * 1024  # of them for the rest of the answer


def checked_form(form: object) -> str:
    """How a machine wants the list: `s3`, the default, or `inline`.

    Raises:
        BadInput: it is neither.
    """
    if form not in FORMS:
        raise BadInput(f"items must be s3 or inline, as the machine's map reads its list, not {shorten(form, 40)}")
    return str(form)


def answer(form: str, bucket: str, key: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer in the replaced system's form, for the list `items` that lies under `key`.

    >>> answer("s3", "my-bucket", "results/items.json", [])
    {'statusCode': 200, 'body': {'S3_BUCKET': 'my-bucket', 'S3_KEY': 'results/items.json'}}
    >>> answer("inline", "my-bucket", "results/items.json", [{"RANK": "0"}])
    {'statusCode': 200, 'body': [{'RANK': '0'}]}

    Raises:
        BadInput: an inline list is longer than a state may hand on.
    """
    if form == "s3":
        return {"statusCode": 200, "body": {"S3_BUCKET": bucket, "S3_KEY": key}}
    size = len(json.dumps(items))
    if size > _STATE_ENDS - _KEPT:
        raise BadInput(
            f"items: the events of {len(items):,} ranks are {size / 1024:.0f} KB, and a state hands on 256 KB: use a"
            " distributed map that reads $.body.S3_BUCKET and $.body.S3_KEY, with items s3"
        )
    return {"statusCode": 200, "body": [dict(item) for item in items]}


def items_of(store: Store, event: Mapping[str, Any]) -> list[RankEvent]:
    """The rank events that such an answer stands for, without the ranks that had no partition.

    Raises:
        BadInput: `body` is in neither form, the list is not there, or an event in it is malformed.
        StoreError: the store refuses.
    """
    body = event.get("body")
    if isinstance(body, Mapping):
        bucket = checked_bucket(text_of(body, "S3_BUCKET"), "S3_BUCKET")
        key = checked_key(text_of(body, "S3_KEY"), "S3_KEY")
        body = store.read_json(bucket, key)
        if body is None:
            raise BadInput(f"body: there is no list of rank events {bucket}/{key}")
    if not isinstance(body, list) or not body:
        raise BadInput(
            "the event must name the run's bucket and result_path, or hand on what the first function answered, with"
            ' its body (a map\'s own results belong to "ResultPath": null)'
        )
    busy = [item for item in body if not (isinstance(item, Mapping) and item.get("DATA_PATH", "") is None)]
    if not busy:
        raise BadInput("body: no rank in the list has a partition")
    return [RankEvent.from_wire(item) for item in busy]
