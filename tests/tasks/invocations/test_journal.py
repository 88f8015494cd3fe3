import dataclasses
import time

import pytest

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.invocations.invocation import STILL_RUNNING
from tasks.invocations.journal import Journal, calls_of_killed_runs, forget_calls
from tasks.invocations.ledger import Ledger
from tests.support.wire_examples import EVENT
from tests.tasks.invocations.test_stored import BUCKET, PATH, PRINTS, done, failed

EVENTS = [dataclasses.replace(EVENT, rank=rank, fingerprint=print_) for rank, print_ in PRINTS.items()]
FIRST, SECOND = f"{PATH}/.cosmic/00000001", f"{PATH}/.cosmic/00000002"


def still_open(rank=0, **changes):
    return failed(rank, "the run was killed", billed_how=STILL_RUNNING, **changes)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def written(store, ledger, calls=(), folder=FIRST):
    with Journal(store, BUCKET, folder, EVENTS).of(ledger, lambda: list(calls)):
        pass


def found(store, known=(), folder=SECOND, prints=PRINTS):
    return calls_of_killed_runs(store, BUCKET, folder, prints, known)[0]


def killed(store, folder=SECOND, prints=PRINTS):
    return calls_of_killed_runs(store, BUCKET, folder, prints, ())[1]


class TestJournal:
    def test_names_the_ranks_before_the_first_call_is_sent(self, store):
        with Journal(store, BUCKET, FIRST, EVENTS).of(Ledger(), list):
            (page,) = store.list(BUCKET, f"{PATH}/.cosmic/journal")
            assert store.read_json(BUCKET, page.key)["fingerprints"] == {"0": "print-0", "1": "print-1"}

    def test_holds_calls_while_ranks_run(self, store):
        ledger = Ledger()
        with Journal(store, BUCKET, FIRST, EVENTS).of(ledger, lambda: [still_open(1)]):
            ledger.enter(failed(0))
            until = time.monotonic() + 20.0
            while not found(store):
                assert time.monotonic() < until
                time.sleep(0.05)
            assert found(store) == [failed(0), still_open(1)]

    def test_holds_every_call_once_the_ranks_have_ended(self, store):
        ledger = Ledger()
        ledger.enter(failed(0))
        ledger.enter(done(0, attempt=2, started_at=110.0))
        written(store, ledger)
        assert found(store) == [failed(0), dataclasses.replace(done(0, attempt=2, started_at=110.0), result=None)]

    def test_a_call_that_was_open_and_ended_counts_as_it_ended(self, store):
        ledger, calls = Ledger(), [still_open(0)]
        with Journal(store, BUCKET, FIRST, EVENTS).of(ledger, lambda: calls) as journal:
            journal._turn()
            calls.clear()
            ledger.enter(failed(0))
        assert found(store) == [failed(0)]

    def test_what_the_store_refuses_is_written_at_the_next_turn(self, store, tmp_path):
        ledger, folder = Ledger(), tmp_path / BUCKET / PATH / ".cosmic"
        with Journal(store, BUCKET, FIRST, EVENTS).of(ledger, list) as journal:
            ledger.enter(failed(0))
            folder.rename(folder.with_name("away"))
            folder.write_bytes(b"in the way")
            journal._turn()
            folder.unlink()
            folder.with_name("away").rename(folder)
        assert found(store) == [failed(0)]


class TestCallsOfKilledRuns:
    def test_a_runs_own_journal_does_not_count(self, store):
        ledger = Ledger()
        ledger.enter(failed(0))
        written(store, ledger)
        assert found(store, folder=FIRST) == []

    def test_calls_under_another_plan_do_not_count(self, store):
        ledger = Ledger()
        ledger.enter(failed(0))
        ledger.enter(failed(1))
        written(store, ledger)
        assert found(store, prints={0: "another", 1: "print-1"}) == [failed(1)]

    def test_a_run_that_was_killed_is_told_by_its_last_page(self, store):
        before = time.time()
        journal = Journal(store, BUCKET, FIRST, EVENTS)
        journal._write([], [])
        (last,) = killed(store)
        assert before <= last <= time.time()
        assert killed(store, prints={0: "another", 1: "plan"}) == [], "its results are gone, and so is its bill"

    def test_a_run_that_was_interrupted_has_noted_all_and_is_not_killed(self, store):
        written(store, Ledger())
        assert killed(store) == []

    def test_a_call_that_is_on_the_bill_is_not_billed_again(self, store):
        ledger = Ledger()
        ledger.enter(failed(0))
        written(store, ledger, [still_open(1)])
        on_the_bill = [failed(0, billed_s=4.0), failed(1, "it broke off", started_at=101.2)]
        assert found(store, on_the_bill) == []
        assert found(store, [failed(0, attempt=2), failed(1, backup=True)]) == [failed(0), still_open(1)]

    def test_the_calls_of_two_killed_runs_are_both_billed(self, store):
        for folder, start in ((FIRST, 100.0), (SECOND, 500.0)):
            ledger = Ledger()
            ledger.enter(failed(0, started_at=start))
            written(store, ledger, folder=folder)
        assert [call.started_at for call in found(store, folder=f"{PATH}/.cosmic/00000003")] == [100.0, 500.0]

    @pytest.mark.parametrize("text", ["{", "[]", '{"at": 1.0}', '{"at": "soon"}'])
    def test_a_damaged_page_is_named(self, store, text):
        store.write(BUCKET, f"{PATH}/.cosmic/journal/00000001-000000.json", text.encode())
        with pytest.raises(BadInput, match=r"journal/00000001-000000\.json.*remove it"):
            found(store)


def test_a_run_that_counts_forgets_its_journal_and_those_before(store):
    for folder in (FIRST, SECOND, f"{PATH}/.cosmic/00000003"):
        written(store, Ledger(), folder=folder)
    forget_calls(store, BUCKET, SECOND)
    left = store.list(BUCKET, f"{PATH}/.cosmic/journal")
    assert left
    assert all("/00000003-" in each.key for each in left)
