"""Dispatch against an executor whose every call is written down: how long it takes and how it ends."""

import dataclasses
import threading
import time

import pytest

from inference.contract.run_request import RunRequest
from tasks.dispatch.dispatcher import Dispatch, Limits
from tasks.executors.local import LocalExecutor
from tasks.invocations.invocation import Invocation
from tasks.invocations.ledger import Ledger
from tests.conftest import SCRIPTED_WORKER, events_of
from tests.support.wire_examples import RESULT

FAIL, RAISE, HANG, REFUSED = "fail", "raise", "hang", "refused"


class Scripted:
    """Answers a rank's n-th call by the n-th word of its script: FAIL, RAISE, HANG, REFUSED, or seconds to take."""

    name = "scripted"
    memory_mb = 1024

    def __init__(self, words=None, concurrency=100, in_process=False, each_s=0.0):
        self.words = {rank: list(answers) for rank, answers in (words or {}).items()}
        self.concurrency, self.in_process, self.each_s = concurrency, in_process, each_s
        self.calls, self.at_once, self.most_at_once, self.exits = [], 0, 0, 0
        self.left, self.lock = threading.Event(), threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.exits += 1
        self.left.set()

    def invoke(self, event, under_way):
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
            if word == REFUSED:
                under_way(False)
            if word in {HANG, REFUSED}:
                self.left.wait()
            elif word != FAIL:
                time.sleep(word)
        finally:
            with self.lock:
                self.at_once -= 1
        result = dataclasses.replace(RESULT, rank=event.rank, world_size=event.world_size)
        failed = word in {FAIL, HANG, REFUSED}
        return Invocation(
            rank=event.rank,
            attempt=event.attempt,
            started_at=started,
            ended_at=time.time(),
            duration_s=0.0,
            init_s=0.0,
            billed_s=0.0,
            billed_how="scripted",
            memory_mb=self.memory_mb,
            max_memory_mb=0.0,
            cold=False,
            request_id="",
            worker="",
            result=None if failed else result,
            error="scripted to fail" if failed else None,
        )


def ran(executor, events, limits=None, **more):
    """The invocations that decided, with somebody looking meanwhile; and the dispatch."""
    dispatch = Dispatch(executor, Ledger(), events, limits, **more)
    decided = []
    with dispatch:
        thread = threading.Thread(target=lambda: decided.extend(dispatch.run(events)))
        thread.start()
        while thread.is_alive():
            dispatch.look()
            time.sleep(0.005)
        why = dispatch.why
    dispatch.write_off()
    return decided, dispatch, why


def test_every_rank_is_called_once_and_no_more_at_once_than_the_executor_takes():
    executor = Scripted(concurrency=3, each_s=0.002)
    decided, dispatch, why = ran(executor, events_of(40))
    assert sorted(executor.calls) == list(range(40))
    assert {call.rank for call in decided} == set(range(40)) == dispatch.ledger.done
    assert executor.most_at_once <= 3
    assert why is None


def test_shares_of_many_task_runs_together_keep_to_the_executors_concurrency():
    executor, events = Scripted(concurrency=4, each_s=0.002), events_of(60)
    dispatch = Dispatch(executor, Ledger(), events)
    with dispatch:
        shares = [
            threading.Thread(target=dispatch.run, args=(events[start : start + 10],)) for start in range(0, 60, 10)
        ]
        for share in shares:
            share.start()
        for share in shares:
            share.join()
    assert sorted(executor.calls) == list(range(60))
    assert executor.most_at_once <= 4


def test_no_more_threads_are_started_than_there_are_ranks_however_many_the_executor_takes():
    executor, events = Scripted({rank: [HANG] for rank in range(60)}, concurrency=1000), events_of(60)
    before = set(threading.enumerate())
    with Dispatch(executor, Ledger(), events) as dispatch:
        shares = [threading.Thread(target=dispatch.run, args=(events[start : start + 5],)) for start in range(0, 60, 5)]
        for share in shares:
            share.start()
        while len(executor.calls) < 60:
            time.sleep(0.002)
        assert len(set(threading.enumerate()) - before - set(shares)) == 60


@pytest.mark.parametrize("most", [0, 3])
def test_where_the_machine_gives_no_more_threads_ranks_take_turns_on_those_there_are(monkeypatch, most):
    start, started = threading.Thread.start, []

    def start_few(thread):
        if thread.daemon:
            if len(started) == most:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    executor = Scripted(each_s=0.002)
    with Dispatch(executor, Ledger(), events_of(20)) as dispatch:
        assert len(dispatch.run(events_of(20))) == 20
    assert sorted(executor.calls) == list(range(20))
    assert executor.most_at_once <= max(most, 1)


def test_an_executor_that_runs_ranks_in_process_is_called_from_the_callers_thread_in_order():
    seen = []

    class Here(Scripted):
        def invoke(self, event, under_way):
            seen.append(threading.current_thread())
            return super().invoke(event, under_way)

    executor = Here(in_process=True, concurrency=1)
    with Dispatch(executor, Ledger(), events_of(3)) as dispatch:
        dispatch.run(events_of(3))
    assert executor.calls == [0, 1, 2]
    assert set(seen) == {threading.current_thread()}


def test_a_defect_of_the_executor_fails_its_rank_and_no_other():
    decided, dispatch, _ = ran(Scripted({1: [RAISE]}), events_of(3))
    assert {call.rank: call.error for call in decided if call.error} == {1: "RuntimeError('a defect of the executor')"}
    assert dispatch.ledger.done == {0, 2}


class TestBackups:
    def test_a_late_rank_gets_backups_and_the_first_result_counts(self):
        executor = Scripted({7: [HANG]})
        decided, dispatch, _ = ran(executor, events_of(40), Limits(hedging=True))
        assert len(decided) == 40
        assert dispatch.ledger.done == set(range(40))
        assert executor.calls.count(7) == 3
        assert len(executor.calls) <= 44, "never more backups than a tenth of the ranks"

    def test_every_copy_is_on_the_bill_and_the_ledger_tells_of_the_backups(self):
        _, dispatch, _ = ran(Scripted({7: [HANG]}), events_of(40), Limits(hedging=True))
        mine = [call for call in dispatch.ledger.invocations if call.rank == 7]
        assert sorted(call.backup for call in mine) == [False, True, True]
        (slow,) = [call for call in mine if not call.backup]
        assert (slow.error, slow.memory_mb) == ("another copy of the rank was faster", 1024)
        assert slow.billed_s == pytest.approx(slow.ended_at - slow.started_at, abs=1e-5)
        assert "at least" in slow.billed_how
        told = dispatch.ledger.backups()
        made = [call for call in dispatch.ledger.invocations if call.backup]
        assert (told["ranks"], told["invocations"]) == (len({call.rank for call in made}), len(made))
        assert told["faster"] >= 1
        assert f"got {len(made)} backups" in dispatch.ledger.notes()[0]
        assert dispatch.ledger.last_error(7) is None

    def test_a_rank_that_waits_for_a_place_is_not_late_and_nothing_is_billed_for_it(self):
        executor = Scripted({7: [REFUSED]})
        dispatch = Dispatch(executor, Ledger(), events_of(40), Limits(hedging=True))
        with dispatch:
            thread = threading.Thread(target=dispatch.run, args=(events_of(40),))
            thread.start()
            while len(dispatch.ledger.done) < 39:
                time.sleep(0.002)
            for _ in range(20):
                dispatch.look()
                time.sleep(0.005)
            assert executor.calls.count(7) == 1
            dispatch.stop("the user left")
        dispatch.write_off()
        thread.join()
        assert [call.billed_s for call in dispatch.ledger.invocations if call.rank == 7] == [0.0]

    def test_ranks_that_failed_and_wait_to_be_sent_again_keep_no_late_rank_from_its_backup(self):
        executor = Scripted({rank: [FAIL] for rank in range(10)} | {17: [HANG]})
        decided, _, _ = ran(executor, events_of(40), Limits(hedging=True))
        assert executor.calls.count(17) >= 2
        assert {call.rank for call in decided if call.error} == set(range(10))

    def test_a_run_that_does_not_hedge_calls_every_rank_once_however_late(self):
        executor = Scripted({7: [0.2]})
        _, dispatch, _ = ran(executor, events_of(40), Limits(hedging=False))
        assert sorted(executor.calls) == list(range(40))
        assert dispatch.ledger.notes() == []

    def test_an_original_that_fails_while_its_backups_run_does_not_fail_the_rank(self):
        executor = Scripted({7: [0.15, 0.4, 0.4]})
        original = executor.invoke

        def invoke(event, under_way):
            first = event.rank == 7 and executor.calls.count(7) == 0
            call = original(event, under_way)
            return dataclasses.replace(call, result=None, error="out of memory") if first else call

        executor.invoke = invoke
        decided, _, _ = ran(executor, events_of(40), Limits(hedging=True))
        (mine,) = [call for call in decided if call.rank == 7]
        assert (mine.error, mine.backup) == (None, True)

    def test_a_rank_fails_when_the_last_of_its_copies_has_failed(self):
        executor = Scripted({7: [0.15, FAIL, FAIL]})
        original = executor.invoke

        def invoke(event, under_way):
            call = original(event, under_way)
            return dataclasses.replace(call, result=None, error="no") if event.rank == 7 else call

        executor.invoke = invoke
        decided, _, _ = ran(executor, events_of(40), Limits(hedging=True))
        assert [call.rank for call in decided if call.error] == [7]
        assert executor.calls.count(7) == 3


class TestStopping:
    def test_nothing_is_sent_after_a_stop_and_nobody_waits(self):
        executor = Scripted({rank: [HANG] for rank in range(4)}, concurrency=4)
        dispatch = Dispatch(executor, Ledger(), events_of(50))
        with dispatch:
            thread = threading.Thread(target=dispatch.run, args=(events_of(50),))
            thread.start()
            while len(executor.calls) < 4:
                time.sleep(0.002)
            dispatch.stop("enough")
            thread.join(timeout=10)
            assert not thread.is_alive()
            assert dispatch.run(events_of(50)) == []
        assert sorted(executor.calls) == [0, 1, 2, 3]
        assert executor.exits == 1

    def test_calls_under_way_are_billed_as_far_as_they_had_come(self):
        class Remote(Scripted):
            """Cannot end what runs, as a function cannot be ended."""

            def __exit__(self, *_):
                pass

        executor = Remote({0: [HANG]})
        dispatch = Dispatch(executor, Ledger(), events_of(1))
        threading.Thread(target=dispatch.run, args=(events_of(1),)).start()
        while not executor.calls:
            time.sleep(0.002)
        dispatch.stop("the user left")
        dispatch.write_off()
        executor.left.set()
        (call,) = dispatch.ledger.invocations
        assert call.error == "stopped: the user left"
        assert call.billed_s > 0

    def test_a_rank_whose_worker_was_killed_for_it_was_stopped_and_had_no_memory_to_run_out_of(self, scripted):
        scripted({0: ["hang"]})
        executor = LocalExecutor(1, command=SCRIPTED_WORKER)
        dispatch = Dispatch(executor, Ledger(), events_of(1))
        with dispatch:
            waiting = threading.Thread(target=dispatch.run, args=(events_of(1),))
            waiting.start()
            while not executor._alive:
                time.sleep(0.002)
            dispatch.stop("the user left")
        waiting.join(10)
        while not dispatch.ledger.invocations:
            time.sleep(0.002)
        assert dispatch.ledger.last_error(0) == "stopped: the user left"

    def test_a_call_that_ends_after_it_was_written_off_is_not_entered_again(self):
        executor = Scripted({0: [0.05]})
        dispatch, before = Dispatch(executor, Ledger(), events_of(1)), set(threading.enumerate())
        with dispatch:
            waiting = threading.Thread(target=dispatch.run, args=(events_of(1),))
            waiting.start()
            while not executor.calls:
                time.sleep(0.002)
        dispatch.write_off()
        dispatch.write_off()
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
            assert not thread.is_alive(), "the pool's threads end with it"
        assert [call.error for call in dispatch.ledger.invocations] == ["stopped: the run is over"]

    def test_an_interrupt_lets_everybody_go(self):
        executor = Scripted({rank: [HANG] for rank in range(8)})
        with pytest.raises(KeyboardInterrupt), Dispatch(executor, Ledger(), events_of(8)) as dispatch:
            waiting = threading.Thread(target=dispatch.run, args=(events_of(8),))
            waiting.start()
            while len(executor.calls) < 8:
                time.sleep(0.002)
            raise KeyboardInterrupt
        waiting.join(10)
        assert not waiting.is_alive()
        assert executor.exits == 1

    def test_more_failures_than_tolerated_stop_it_and_so_does_the_time_limit(self):
        limits = Limits(tolerated_count=1)
        dispatch = Dispatch(Scripted(), Ledger(), events_of(10), limits)
        dispatch.give_up([3])
        assert dispatch.why is None
        dispatch.give_up([3, 4])
        assert "2 failed ranks are more than the 1 tolerated" in dispatch.why
        late = Dispatch(Scripted(), Ledger(), events_of(1), Limits(until=(time.monotonic() - 1, "too long")))
        late.look()
        assert late.why == "too long"

    def test_the_share_of_failures_is_of_the_whole_run_also_when_most_of_it_was_done_before(self):
        dispatch = Dispatch(Scripted(), Ledger(), events_of(100)[90:], Limits(tolerated_percentage=2.0))
        dispatch.give_up([90, 91])
        assert dispatch.why is None
        dispatch.give_up([92])
        assert "3 % of the ranks failed, more than the 2 % tolerated" in dispatch.why

    def test_a_cancelled_run_stops(self):
        dispatch = Dispatch(Scripted(), Ledger(), events_of(1), cancelled=lambda: "the flow run was cancelled")
        dispatch.look()
        assert dispatch.why == "the flow run was cancelled"

    def test_the_request_sets_the_limits_and_the_executor_whether_backups_are_made(self):
        request = {
            "bucket": "cosmicai-test",
            "data_bucket": "cosmicai-test",
            "data_prefix": "survey",
            "result_path": "results/x",
            "file_limit": 1,
            "batch_size": 1,
        }
        assert Limits.of(RunRequest.read(request), hedging=True) == Limits(hedging=True)
        given = request | {"hedging": False, "tolerated_failure_count": 2, "run_timeout": 5}
        limits = Limits.of(RunRequest.read(given), hedging=True)
        assert (limits.hedging, limits.tolerated_count) == (False, 2)
        assert limits.until[1] == "the run took longer than 5 s (run_timeout)"


def test_a_failed_rank_is_told_by_its_last_error():
    decided, dispatch, _ = ran(Scripted({2: [FAIL]}), events_of(4))
    assert [(call.rank, call.error) for call in decided if call.error] == [(2, "scripted to fail")]
    assert dispatch.ledger.last_error(2) == "scripted to fail"
