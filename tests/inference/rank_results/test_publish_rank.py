import dataclasses
import json

import pytest

from inference.errors import RankFailed
from inference.rank_results.publish_rank import publish_rank_result
from inference.storage.store import Store
from tests.support.wire_examples import EVENT, RESULT

BUCKET = EVENT.bucket
KEY = "results/test/3.json"


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    plan(store, EVENT.fingerprint)
    return store


def plan(store, fingerprint):
    store.write(BUCKET, "results/test/payload.json", json.dumps({"fingerprints": {"3": fingerprint}}).encode())


def attempt(store, name, **changes):
    """A rank's result whose redshifts have been written, as the handler has it before it publishes."""
    result = dataclasses.replace(RESULT, predictions_path=f"results/test/predictions/3.{name}.safetensors", **changes)
    store.write(BUCKET, result.predictions_path, b"redshifts")
    return result


def redshifts(store):
    return [stored.key.split(".")[1] for stored in store.list(BUCKET, "results/test/predictions")]


def test_the_first_result_wins_and_the_later_ones_redshifts_go(store):
    first = publish_rank_result(store, EVENT, attempt(store, "1-a"))
    assert publish_rank_result(store, EVENT, attempt(store, "2-b")) == first
    assert redshifts(store) == ["1-a"]


@pytest.mark.parametrize(
    "left", [b"", b"{", json.dumps(RESULT.to_wire()).encode()[:-7], b"[]", b"null", b"\xff" * 9], ids=repr
)
def test_half_a_result_is_replaced(store, left):
    store.write(BUCKET, KEY, left)
    mine = attempt(store, "2-b")
    assert publish_rank_result(store, EVENT, mine) == mine
    assert json.loads(store.read(BUCKET, KEY))["predictions_path"] == mine.predictions_path


def test_a_result_whose_redshifts_are_gone_is_replaced(store):
    first = publish_rank_result(store, EVENT, attempt(store, "1-a"))
    store.delete(BUCKET, [first.predictions_path])
    mine = attempt(store, "2-b")
    assert publish_rank_result(store, EVENT, mine) == mine


def test_an_older_plans_late_worker_replaces_nothing(store):
    old = dataclasses.replace(EVENT, fingerprint="old")
    publish_rank_result(store, old, attempt(store, "1-old", fingerprint="old"))
    mine = attempt(store, "1-new")
    assert publish_rank_result(store, EVENT, mine) == mine
    with pytest.raises(RankFailed, match=r"rank 3: results/test/3\.json holds the result of another run"):
        publish_rank_result(store, old, attempt(store, "2-old", fingerprint="old"))
    assert json.loads(store.read(BUCKET, KEY))["predictions_path"] == mine.predictions_path
    assert "2-old" not in redshifts(store)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"fingerprints": []}'])
def test_without_a_plan_nothing_is_replaced(store, damage):
    store.write(BUCKET, "results/test/payload.json", damage)
    store.write(BUCKET, KEY, b"somebody's")
    with pytest.raises(RankFailed, match="another run"):
        publish_rank_result(store, EVENT, attempt(store, "1-a"))
    assert store.read(BUCKET, KEY) == b"somebody's"
