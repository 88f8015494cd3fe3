import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.worker import reply_to
from tests.support.wire_examples import EVENT, RESULT

ROOT = Path(__file__).parents[2]
NO_EVENT = json.dumps({"RANK": "0"})
CHATTERING = """
import os, subprocess
import inference.handler, inference.worker

def handler(event, context):
    print("a print of the engine's")
    os.write(1, b"a line of a C library\\n")
    subprocess.run(["echo", "a line of a child"])
    return event

inference.handler.lambda_handler = handler
inference.worker.main()
"""
RAISING = """
import inference.handler, inference.worker

def handler(event, context):
    raise {"memory": MemoryError(), "value": ValueError("two\\nlines"), "mute": ValueError()}[event]

inference.handler.lambda_handler = handler
inference.worker.main()
"""


def talk(lines, words=("-m", "inference.worker"), tmp=None):
    """Send lines, close the input, and return the replies of a worker that ended well."""
    data = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    limits = {"COSMIC_THREADS": "1"} | ({"TMPDIR": str(tmp)} if tmp else {})
    done = subprocess.run(
        [sys.executable, *words], input=data, capture_output=True, cwd=ROOT, env=os.environ | limits, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    first, *replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert first.keys() == {"ready"}
    assert len(replies) == len(lines), "a reply a line"
    return replies, done.stderr.decode()


def test_a_worker_says_that_it_is_ready_and_ends_when_its_input_ends():
    replies, _ = talk([])
    assert replies == []


def test_a_wrong_event_is_an_error_reply_and_the_worker_goes_on():
    replies, _ = talk([NO_EVENT, "[]", NO_EVENT])
    assert [reply["errorType"] for reply in replies] == ["BadInput"] * 3
    assert "WORLD_SIZE" in replies[0]["errorMessage"]
    assert "JSON object" in replies[1]["errorMessage"]


@pytest.mark.parametrize("line", ["this is no JSON", "", "[" * 20_000, b'"\xff\xfe"', '{"RANK": '])
def test_a_line_that_is_not_json_is_an_error_reply_and_the_worker_lives_on(line):
    replies, _ = talk([line, NO_EVENT])
    assert replies[0]["errorType"] == "BadInput"
    assert replies[0]["errorMessage"].startswith(("the event is not JSON", "the event is nested"))
    assert "WORLD_SIZE" in replies[1]["errorMessage"]


def test_prints_go_to_standard_error_and_replies_stay_whole():
    replies, chatter = talk(['{"rank": 1}', '{"rank": 2}'], ("-c", CHATTERING))
    assert [reply["result"] for reply in replies] == [{"rank": 1}, {"rank": 2}]
    assert chatter.count("a print of the engine's") == 2
    assert chatter.count("a line of a C library") == 2
    assert chatter.count("a line of a child") == 2


def test_whatever_a_rank_raises_is_reported_and_the_worker_lives_on():
    replies, _ = talk(['"memory"', '"value"', '"mute"'], ("-c", RAISING))
    assert [reply["errorType"] for reply in replies] == ["MemoryError", "ValueError", "ValueError"]
    assert all(reply["errorMessage"] for reply in replies)
    assert "out of memory" in replies[0]["errorMessage"]


def test_every_reply_has_a_request_id_of_its_own():
    ids = {reply_to({})["request_id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(name.startswith("local-") for name in ids)


def test_events_and_results_are_plain_json_on_the_way():
    for document in (EVENT.to_wire(), RESULT.to_wire()):
        assert json.loads(json.dumps(document, allow_nan=False)) == document
