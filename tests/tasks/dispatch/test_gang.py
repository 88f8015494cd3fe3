"""Gangs: all ranks at once or not at all, and all again when one fails."""

import dataclasses
from types import SimpleNamespace

import pytest

from inference.contract.messages import Messages
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.dispatch.dispatcher import Dispatcher, Limits
from tasks.dispatch.gang import check_gang
from tasks.dispatch.rank_group import RankGroup, RanksFailed
from tasks.invocations.ledger import Ledger
from tests.conftest import events_of
from tests.support.surveys import request_of
from tests.tasks.dispatch.test_dispatcher import FAIL, Scripted, handed_in

GANG = Messages(through="tcp", gang="0" * 32)


def gang_of(ranks):
    return [dataclasses.replace(event, messages=GANG) for event in events_of(ranks)]


def request(**changes):
    script = {"script": "/tmp/one/run.py", "S3_object_name": "one", "model": None, "file_limit": 4}
    return RunRequest.read(request_of(**script | {"messages": "tcp"} | changes))


def executor(name="local", concurrency=2, takes_whole_run=False):
    return SimpleNamespace(name=name, concurrency=concurrency, takes_whole_run=takes_whole_run)


def test_gang_is_sent_when_all_of_it_fits_and_not_before():
    narrow = Scripted(concurrency=2)
    events = gang_of(3)
    with Dispatcher(narrow, Ledger(), events, Limits(gang=True)) as dispatcher:
        dispatcher.hand_in(events)
        for _ in range(3):
            dispatcher._turn(0.01)
        assert narrow.calls == []
        narrow.concurrency = 3  # a third worker has come
        dispatcher._turn(0.01)
        dispatcher.serve(lambda: len(dispatcher.ledger.done) == 3)
    assert sorted(narrow.calls) == [0, 1, 2]


def test_retry_runs_the_whole_gang_again():
    events = gang_of(3)
    scripted = Scripted({1: [FAIL]})
    group = RankGroup(events, Dispatcher(scripted, Ledger(), events, Limits(gang=True)))
    with group.dispatcher as dispatcher:
        for attempt in (1, 2):
            again = group.to_run(attempt)
            assert [(event.rank, event.attempt) for event in again] == [(rank, attempt) for rank in range(3)]
            with handed_in(dispatcher, again) as task_run:
                dispatcher.serve(lambda thread=task_run: not thread.is_alive())
            if attempt == 1:
                with pytest.raises(RanksFailed) as failed:
                    group.check()
                assert failed.value.retryable
    group.check()
    assert sorted(scripted.calls) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("changes", "where", "sentence"),
    [
        ({}, executor(), "all 4 ranks must run at once, and the executor local runs 2: give --workers 4"),
        ({}, executor("dask"), "give the cluster 4 workers"),
        ({"messages": "store"}, executor("lambda"), "raise max_concurrency to 4"),
        ({}, executor("lambda", 100), "functions do not reach one another over tcp"),
        ({}, executor("step-functions", 100, True), "a state machine repeats its ranks one by one"),
    ],
)
def test_gang_that_cannot_run_at_once_is_refused(changes, where, sentence):
    with pytest.raises(BadInput, match=sentence):
        check_gang(request(**changes), where)


def test_gang_that_fits_and_run_without_messages_pass():
    check_gang(request(), executor(concurrency=4))
    check_gang(request(messages=None), executor())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"messages": "smoke"}, "messages must be tcp, store or a URL"),
        ({"messages": "redis://:secret@host"}, "leave the password out of the URL"),
        ({"messages": "tcp", "script": None, "S3_object_name": None}, "messages goes with script"),
    ],
)
def test_request_with_wrong_messages_is_refused(changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        request(**changes)


def test_a_gang_of_scripts_needs_mount_namespaces_on_one_machine(monkeypatch):
    monkeypatch.setattr("tasks.dispatch.gang.namespace", tuple)
    with pytest.raises(BadInput, match="on this machine one script runs at a time, because it allows no mount"):
        check_gang(request(), executor(concurrency=4))
    check_gang(request(), executor("dask", concurrency=4))
    check_gang(request(file_limit=1), executor(concurrency=4))
