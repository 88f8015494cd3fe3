"""Whatever a function replies, its rank is done or failed with a sentence; no other rank's result is taken."""

import dataclasses
import json
import random

import pytest

from inference.storage.store import Store
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.executors.lambda_limits import MAX_PAYLOAD
from tests.support.corruption import corrupted_json
from tests.support.scripted_lambda import Answer, serving
from tests.support.wire_examples import EVENT, RESULT


@pytest.fixture
def endpoint(monkeypatch):
    with serving(lambda event, request_id: RESULT.to_wire()) as (endpoint, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "canary-secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield endpoint


@pytest.fixture
def replies_to(endpoint, tmp_path):
    """What becomes of a rank that is answered so, each reply the answer to a call of its own."""
    event = dataclasses.replace(EVENT, store=str(tmp_path))

    def invoke(*answers):
        endpoint.script(EVENT.rank, *answers)
        with LambdaExecutor("f", concurrency=1, lost_for_s=0.01, refused_for_s=0.01) as lambdas:
            return [lambdas.submit([event])[0].result() for _ in answers]

    yield invoke
    assert Store(tmp_path).list("cosmicai-test", "results") == [], "a reply alone writes nothing"


def test_harmed_results_and_errors_are_taken_or_reported(replies_to):
    first = random.randrange(2**63)
    errors = {"errorType": "RuntimeError", "errorMessage": "no\x1b[2J luck", "stackTrace": ["a", "b"]}
    answers = [
        Answer(body=corrupted_json(RESULT.to_wire() if number % 3 else errors, random.Random(first + number)))
        if number % 2
        else Answer(body=corrupted_json(errors, random.Random(first + number)), function_error="Unhandled")
        for number in range(60)
    ]
    for number, call in enumerate(replies_to(*answers)):
        seed = f"seed {first + number}"
        assert (call.result is None) == (call.error is not None), seed
        if call.error is not None:
            assert call.error.replace("\n", "").isprintable(), seed
            assert len(call.error) < 5_000, seed
        else:
            assert (call.result.rank, call.result.fingerprint) == (EVENT.rank, EVENT.fingerprint), seed


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 100_000, b"9" * 100_000, b"NaN", b"\xff\xfe", b""])
def test_what_is_no_document_is_reported_as_that(replies_to, body):
    (call,) = replies_to(Answer(body=body))
    assert any(text in call.error for text in ("not JSON", "no rank result", "nested more than 100 levels deep"))


def test_a_reply_larger_than_lambda_gives_is_not_taken_into_memory(replies_to):
    (call,) = replies_to(Answer(body=json.dumps(RESULT.to_wire()).encode() + b" " * (MAX_PAYLOAD + 1)))
    assert call.result is None
    assert "exceeds 6 MB" in call.error


def test_another_ranks_result_is_not_taken(replies_to):
    other = dataclasses.replace(RESULT, rank=2).to_wire()
    older = dataclasses.replace(RESULT, fingerprint="e" * 32).to_wire()
    for call, why in zip(
        replies_to(*(Answer(body=json.dumps(each).encode()) for each in (other, older))),
        ("answered for rank 2", "of another plan"),
        strict=True,
    ):
        assert why in call.error
