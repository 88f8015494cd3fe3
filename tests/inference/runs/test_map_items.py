import json

import pytest

from inference.contract.rank_event import RankEvent
from inference.errors import BadInput
from inference.runs.map_items import answer, checked_form, items_of
from inference.storage.store import Store

# As the replaced system's first function wrote an event (contract, "Rank event").
EVENT = {
    "S3_BUCKET": "cosmicai-test",
    "S3_OBJECT_NAME": "Anomaly Detection",
    "SCRIPT": "/tmp/Anomaly Detection/Inference/inference.py",
    "S3_OBJECT_TYPE": "folder",
    "WORLD_SIZE": "2",
    "RANK": "0",
    "DATA_BUCKET": "cosmicai-test",
    "DATA_PREFIX": "survey",
    "DATA_PATH": "survey/1.pt",
    "RESULT_PATH": "results/test",
    "BATCH_SIZE": 512,
}
IDLE = EVENT | {"RANK": "1", "DATA_PATH": None}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.mark.parametrize("form", ["s3", "inline"])
def test_items_come_back_from_either_form_without_idle_ranks(store, form):
    store.write("cosmicai-test", "temp-results/one.json", json.dumps([EVENT, IDLE]).encode())
    answered = answer(form, "cosmicai-test", "temp-results/one.json", [EVENT, IDLE])
    assert answered["statusCode"] == 200
    assert items_of(store, answered) == [RankEvent.from_wire(EVENT)]


def test_answer_refuses_an_inline_list_that_no_state_can_hand_on():
    with pytest.raises(BadInput, match=r"^items: the events of 2,000 ranks are 6\d\d KB, and a state hands on 256 KB"):
        answer("inline", "cosmicai-test", "items.json", [EVENT] * 2_000)


def test_form_is_refused_by_name():
    with pytest.raises(BadInput, match=r"items must be s3 or inline, .* not 'list'"):
        checked_form("list")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (None, "must name the run's bucket and result_path"),
        (["done", "done"], "the event must be a JSON object"),
        ([IDLE], "no rank in the list has a partition"),
        ({"S3_BUCKET": "cosmicai-test", "S3_KEY": "none.json"}, "no list of rank events cosmicai-test/none.json"),
        ({"S3_BUCKET": "cosmicai-test"}, "S3_KEY"),
    ],
)
def test_items_that_are_none_are_refused_with_a_sentence(store, body, sentence):
    with pytest.raises(BadInput, match=sentence):
        items_of(store, {"statusCode": 200, "body": body})
