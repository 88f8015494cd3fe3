import threading
import time

import pytest

from tasks.executors.base import Call, measured
from tasks.executors.threads import DaemonThreads
from tests.conftest import events_of


def answer(call):
    return measured(call.event, 0.0, 1.0, 1024, error=threading.current_thread().name)


def resolved(threads, count, work=answer):
    calls = [Call(event) for event in events_of(count)]
    for call in calls:
        threads.submit(call, work)
    return [call.result(10) for call in calls]


def test_submit_resolves_every_call_on_daemon_threads():
    assert {call.error for call in resolved(DaemonThreads(3), 20)} == {"cosmic-call"}


def test_submit_starts_no_more_threads_than_calls_are_open():
    before, hold = set(threading.enumerate()), threading.Event()

    def wait(call):
        hold.wait()
        return answer(call)

    threads, calls = DaemonThreads(1000), [Call(event) for event in events_of(60)]
    for call in calls:
        threads.submit(call, wait)
    assert len(set(threading.enumerate()) - before) <= 60
    hold.set()
    for call in calls:
        call.result(10)


def test_stop_ends_idle_threads():
    before, threads = set(threading.enumerate()), DaemonThreads(4)
    resolved(threads, 8)
    threads.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_submit_hands_an_exception_to_the_call():
    def fail(call):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        resolved(DaemonThreads(1), 1, fail)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_submit_takes_turns_where_the_machine_gives_no_more_threads(monkeypatch, most):
    started, start = [], threading.Thread.start

    def start_few(thread):
        if len(started) >= most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    def work(call):
        time.sleep(0.001)
        return answer(call)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    assert len(resolved(DaemonThreads(10), 20, work)) == 20
    assert len(started) == most
