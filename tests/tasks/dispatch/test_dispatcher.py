"""The dispatcher against an executor whose every answer is scripted: how often it calls, and how it ends."""

import dataclasses
import threading
import time
from contextlib import contextmanager

import pytest

from inference.contract.run_request import RunRequest
from tasks.dispatch.dispatcher import Dispatcher, Limits
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.executors.base import Call, Executor, NothingRan, measured
from tasks.executors.local import LocalExecutor
from tasks.executors.step_functions import StepFunctionsExecutor
from tasks.executors.threads import DaemonThreads
from tasks.invocations.ledger import Ledger
from tests.conftest import SCRIPTED_WORKER, events_of
from tests.support.surveys import request_of
from tests.support.wire_examples import RESULT

FAIL, RAISE, HANG, REFUSED, NEVER = "fail", "raise", "hang", "refused", "never ran"


class Scripted(Executor):
    """Answers a rank's n-th call by the n-th word of its script: one of the above, or seconds to take."""

    name = "scripted"
    memory_mb = 1024

    def __init__(self, words=None, concurrency=100, in_process=False, each_s=0.0):
        self.words = {rank: list(answers) for rank, answers in (words or {}).items()}
        self.concurrency, self.in_process, self.each_s = concurrency, in_process, each_s
        self.calls, self.at_once, self.most_at_once, self.stops = [], 0, 0, 0
        self.stopped, self.lock = threading.Event(), threading.Lock()
        self.threads = DaemonThreads(concurrency)

    def stop(self):
        self.stops += 1
        self.stopped.set()

    def submit(self, events):
        calls = [Call(event) for event in events]
        for call in calls:
            if self.in_process:
                call.set_result(self.answer(call))
            else:
                self.threads.submit(call, self.answer)
        return calls

    def answer(self, call):
        event = call.event
        with self.lock:
            self.calls.append(event.rank)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            answers = self.words.get(event.rank, [])
            word = answers.pop(0) if answers else self.each_s
        started = time.time()
        try:
            if word == RAISE:
                raise RuntimeError("a defect of the executor")
            if word == NEVER:
                raise NothingRan("there is no room")
            if word == REFUSED:
                call.sent_at = None
            if word in {HANG, REFUSED}:
                self.stopped.wait()
            elif word != FAIL:
                time.sleep(word)
        finally:
            with self.lock:
                self.at_once -= 1
        if word in {FAIL, HANG, REFUSED}:
            return measured(event, started, time.time(), 1024, error="scripted to fail", billed_s=0.0)
        result = dataclasses.replace(RESULT, rank=event.rank, world_size=event.world_size)
        return measured(event, started, time.time(), 1024, result, billed_s=0.0)


def decided(ledger):
    """The last invocation of each rank that did not come after its result."""
    ends = {}
    for call in ledger.invocations:
        if call.rank not in ends or ends[call.rank].result is None:
            ends[call.rank] = call
    return ends


def ran(executor, events, limits=None, **more):
    """Run all events as one task run would, with the loop in this thread; returns the dispatcher."""
    dispatcher = Dispatcher(executor, Ledger(), events, limits, **more)
    with dispatcher, handed_in(dispatcher, events) as task_run:
        dispatcher.serve(lambda: not task_run.is_alive())
    return dispatcher


@contextmanager
def handed_in(dispatcher, events):
    """A task run, in a thread of its own, that waits for the events."""

    def run():
        dispatcher.run(events)
        dispatcher.wake()

    task_run = threading.Thread(target=run, daemon=True)
    task_run.start()
    yield task_run


def released(task_run):
    task_run.join(10)
    return not task_run.is_alive()


def test_run_calls_every_rank_once_within_the_executors_concurrency():
    executor = Scripted(concurrency=3, each_s=0.002)
    dispatcher = ran(executor, events_of(40))
    assert sorted(executor.calls) == list(range(40))
    assert set(decided(dispatcher.ledger)) == set(range(40)) == dispatcher.ledger.done
    assert executor.most_at_once <= 3
    assert dispatcher.ledger.stop_reason is None


def test_run_keeps_to_the_concurrency_when_many_task_runs_hand_in_ranks():
    executor, events = Scripted(concurrency=4, each_s=0.002), events_of(60)
    dispatcher = Dispatcher(executor, Ledger(), events)
    with dispatcher:
        task_runs = [
            threading.Thread(target=dispatcher.run, args=(events[start : start + 10],)) for start in range(0, 60, 10)
        ]
        for task_run in task_runs:
            task_run.start()
        dispatcher.serve(lambda: not any(task_run.is_alive() for task_run in task_runs))
    assert sorted(executor.calls) == list(range(60))
    assert executor.most_at_once <= 4


def test_run_in_process_calls_ranks_in_order_in_the_callers_thread():
    seen = []

    class Here(Scripted):
        def answer(self, call):
            seen.append(threading.current_thread())
            return super().answer(call)

    executor = Here(in_process=True, concurrency=1)
    with Dispatcher(executor, Ledger(), events_of(3)) as dispatcher:
        dispatcher.run(events_of(3))
    assert executor.calls == [0, 1, 2]
    assert set(seen) == {threading.current_thread()}


def test_serve_sends_the_next_rank_without_waiting_for_its_next_poll(monkeypatch):
    monkeypatch.setattr("tasks.dispatch.dispatcher.POLL_S", 60.0)
    monkeypatch.setattr("tasks.dispatch.clock.Clock.quiet_s", 60.0)
    dispatcher = ran(Scripted(concurrency=1), events_of(20))
    assert dispatcher.ledger.done == set(range(20))


def test_a_defect_of_the_executor_fails_its_rank_and_no_other():
    ledger = ran(Scripted({1: [RAISE]}), events_of(3)).ledger
    assert ledger.last_error(1) == "RuntimeError('a defect of the executor')"
    assert ledger.done == {0, 2}


def test_a_submit_that_raises_fails_its_ranks_and_lets_nobody_wait():
    class Broken(Scripted):
        def submit(self, events):
            raise RuntimeError("no more threads")

    dispatcher = ran(Broken(), events_of(3))
    assert {dispatcher.ledger.last_error(rank) for rank in range(3)} == {"RuntimeError('no more threads')"}
    assert dispatcher.given_up == set()


def test_a_rank_for_which_nothing_ran_is_on_no_bill():
    dispatcher = ran(Scripted({1: [NEVER]}), events_of(3))
    assert dispatcher.ledger.last_error(1) == "there is no room"
    assert [call.rank for call in dispatcher.ledger.invocations if call.rank == 1] == []
    assert dispatcher.given_up == {1}


def test_a_failed_rank_keeps_its_last_error():
    ledger = ran(Scripted({2: [FAIL]}), events_of(4)).ledger
    assert {rank: call.error for rank, call in decided(ledger).items() if call.error} == {2: "scripted to fail"}
    assert ledger.last_error(2) == "scripted to fail"


@pytest.mark.parametrize(("attempt", "final"), [(1, False), (2, False), (3, True)])
def test_a_rank_is_given_up_after_its_third_attempt(attempt, final):
    events = [dataclasses.replace(event, attempt=attempt) for event in events_of(2)]
    assert ran(Scripted({0: [FAIL]}), events).given_up == ({0} if final else set())


class TestBackups:
    def test_a_late_rank_gets_backups_and_the_first_result_counts(self):
        executor = Scripted({7: [HANG]})
        dispatcher = ran(executor, events_of(40), Limits(hedging=True))
        assert dispatcher.ledger.done == set(range(40))
        assert executor.calls.count(7) == 3
        assert len(executor.calls) <= 44, "never more backups than a tenth of the ranks"

    def test_every_copy_is_on_the_bill_and_the_ledger_counts_the_backups(self):
        ledger = ran(Scripted({7: [HANG]}), events_of(40), Limits(hedging=True)).ledger
        mine = [call for call in ledger.invocations if call.rank == 7]
        assert sorted(call.backup for call in mine) == [False, True, True]
        (slow,) = [call for call in mine if not call.backup]
        assert (slow.error, slow.memory_mb) == ("another copy of the rank was faster", 1024)
        assert slow.billed_s == pytest.approx(slow.ended_at - slow.started_at, abs=1e-5)
        assert "at least" in slow.billed_how
        counted = ledger.backups()
        made = [call for call in ledger.invocations if call.backup]
        assert (counted["ranks"], counted["invocations"]) == (len({call.rank for call in made}), len(made))
        assert counted["faster"] >= 1
        assert f"got {len(made)} backups" in ledger.notes()[0]
        assert ledger.last_error(7) is None

    def test_a_refused_rank_that_waits_is_neither_late_nor_billed(self):
        executor, events, polls = Scripted({7: [REFUSED]}), events_of(40), []
        dispatcher = Dispatcher(executor, Ledger(), events, Limits(hedging=True))

        def polled():
            if len(dispatcher.ledger.done) == 39:
                polls.append(executor.calls.count(7))

        with dispatcher, handed_in(dispatcher, events) as task_run:
            dispatcher.serve(lambda: len(polls) > 3, polled)
            dispatcher.stop("the user left")
        assert set(polls) == {1}
        assert released(task_run)
        assert [call for call in dispatcher.ledger.invocations if call.rank == 7] == []
        assert dispatcher.ledger.last_error(7) == "stopped: the user left"

    def test_failed_ranks_keep_no_late_rank_from_its_backup(self):
        executor = Scripted({rank: [FAIL] for rank in range(10)} | {17: [HANG]})
        ledger = ran(executor, events_of(40), Limits(hedging=True)).ledger
        assert executor.calls.count(17) >= 2
        assert {rank for rank, call in decided(ledger).items() if call.error} == set(range(10))

    def test_without_hedging_every_rank_is_called_once_however_late(self):
        executor = Scripted({7: [0.2]})
        dispatcher = ran(executor, events_of(40), Limits(hedging=False))
        assert sorted(executor.calls) == list(range(40))
        assert dispatcher.ledger.notes() == []

    def test_an_original_that_fails_while_backups_run_fails_no_rank(self):
        class FailingFirst(Scripted):
            def answer(self, call):
                first = call.event.rank == 7 and self.calls.count(7) == 0
                end = super().answer(call)
                return dataclasses.replace(end, result=None, error="out of memory") if first else end

        ledger = ran(FailingFirst({7: [0.15, 0.4, 0.4]}), events_of(40), Limits(hedging=True)).ledger
        mine = decided(ledger)[7]
        assert (mine.error, mine.backup) == (None, True)

    def test_a_rank_fails_when_the_last_of_its_copies_has_failed(self):
        class Failing(Scripted):
            def answer(self, call):
                end = super().answer(call)
                return dataclasses.replace(end, result=None, error="no") if call.event.rank == 7 else end

        executor = Failing({7: [0.15, FAIL, FAIL]})
        ledger = ran(executor, events_of(40), Limits(hedging=True)).ledger
        assert [rank for rank, call in decided(ledger).items() if call.error] == [7]
        assert executor.calls.count(7) == 3


class TestStopping:
    def test_stop_sends_nothing_more_and_lets_nobody_wait(self):
        executor, events = Scripted({rank: [HANG] for rank in range(4)}, concurrency=4), events_of(50)
        dispatcher = Dispatcher(executor, Ledger(), events)
        with dispatcher, handed_in(dispatcher, events) as task_run:
            dispatcher.serve(lambda: len(executor.calls) == 4)
            dispatcher.stop("enough")
            assert released(task_run)
            dispatcher.run(events)
        assert sorted(executor.calls) == [0, 1, 2, 3]
        assert executor.stops == 1

    def test_stop_bills_open_calls_for_the_time_since_they_were_sent(self):
        class Remote(Scripted):
            """Cannot end what runs, as a function cannot be ended."""

            def stop(self):
                pass

        executor, events = Remote({0: [HANG]}), events_of(1)
        dispatcher = Dispatcher(executor, Ledger(), events)
        with dispatcher, handed_in(dispatcher, events):
            dispatcher.serve(lambda: bool(executor.calls))
            dispatcher.stop("the user left")
        executor.stopped.set()
        (call,) = dispatcher.ledger.invocations
        assert call.error == "stopped: the user left"
        assert call.billed_s > 0

    def test_a_rank_whose_worker_was_killed_by_stop_has_the_stop_as_its_error(self, scripted):
        scripted({0: ["hang"]})
        executor, events = LocalExecutor(1, command=SCRIPTED_WORKER), events_of(1)
        dispatcher = Dispatcher(executor, Ledger(), events)
        with dispatcher, handed_in(dispatcher, events):
            dispatcher.serve(lambda: bool(executor._alive))
            dispatcher.stop("the user left")
        assert dispatcher.ledger.last_error(0) == "stopped: the user left"

    def test_a_call_that_ends_after_the_dispatcher_is_not_entered_again(self):
        executor, events = Scripted({0: [0.4]}), events_of(1)
        dispatcher, before = Dispatcher(executor, Ledger(), events), set(threading.enumerate())
        with dispatcher, handed_in(dispatcher, events):
            dispatcher.serve(lambda: bool(executor.calls))
        executor.threads.stop()
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
            assert not thread.is_alive(), "the executor's threads end with it"
        assert [call.error for call in dispatcher.ledger.invocations] == ["stopped: the run is over"]

    def test_an_interrupt_lets_everybody_go(self):
        executor, events = Scripted({rank: [HANG] for rank in range(8)}), events_of(8)
        dispatcher = Dispatcher(executor, Ledger(), events)

        def interrupt():
            if len(executor.calls) == 8:
                raise KeyboardInterrupt

        with handed_in(dispatcher, events) as task_run:
            with pytest.raises(KeyboardInterrupt), dispatcher:
                dispatcher.serve(lambda: False, interrupt)
            assert released(task_run)
        assert executor.stops == 1

    def test_more_failures_than_tolerated_stop_the_run(self):
        words = {rank: [FAIL] for rank in (0, 1)} | {rank: [HANG] for rank in range(2, 10)}
        last = [dataclasses.replace(event, attempt=3) for event in events_of(10)]
        dispatcher = ran(Scripted(words), last, Limits(tolerated_count=1))
        assert "2 ranks failed, and only 1 is tolerated" in dispatcher.ledger.stop_reason

    def test_the_share_of_failures_is_of_the_world_size_on_resume(self):
        last = [dataclasses.replace(event, attempt=3) for event in events_of(100)[90:]]
        for failed, stopped in ((2, False), (3, True)):
            words = {rank: [FAIL] for rank in range(90, 90 + failed)}
            reason = ran(Scripted(words), last, Limits(tolerated_percentage=2.0)).ledger.stop_reason
            assert (reason is not None) == stopped
        assert "3 % of the ranks failed, more than the 2 % tolerated" in reason

    def test_the_time_limit_stops_the_run(self):
        limits = Limits(until=(time.monotonic() - 1, "too long"))
        assert ran(Scripted({0: [HANG]}), events_of(1), limits).ledger.stop_reason == "too long"

    def test_a_cancelled_run_stops(self):
        dispatcher = ran(Scripted({0: [HANG]}), events_of(1), cancelled=lambda: "the flow run was cancelled")
        assert dispatcher.ledger.stop_reason == "the flow run was cancelled"


class TestLimits:
    def limits(self, executor, **changes):
        return Limits.of(RunRequest.read(request_of(**changes)), executor)

    def test_the_executor_decides_about_backups_unless_the_request_does(self):
        on_lambda, local = LambdaExecutor("f"), LocalExecutor(1)
        assert self.limits(on_lambda).hedging
        assert not self.limits(on_lambda, hedging=False).hedging
        assert not self.limits(local).hedging
        assert self.limits(local, hedging=True).hedging

    def test_a_script_gets_no_backups_unless_the_request_asks(self):
        scripted = {"model": None, "script": "/tmp/s/run.py", "S3_object_name": "s"}
        assert not self.limits(LambdaExecutor("f"), **scripted).hedging

    def test_the_request_sets_what_is_tolerated_and_how_long_the_run_may_take(self):
        limits = self.limits(LocalExecutor(1), tolerated_failure_count=2, run_timeout=5)
        assert limits.tolerated_count == 2
        assert limits.until[1] == "the run took longer than 5 s (run_timeout)"

    def test_a_state_machine_counts_failures_itself(self):
        limits = self.limits(StepFunctionsExecutor(None, "f", {}), tolerated_failure_count=0, run_timeout=5)
        assert (limits.tolerated_count, limits.exceeded(3, 4, 0.0)) == (None, None)
        assert limits.until is not None
