import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.errors import StoreError
from inference.storage import lease as leases
from inference.storage.lease import Lease, LeaseHeldError
from inference.storage.store import Store

BUCKET, KEY = "cosmicai-test", ".cosmic/leases/results/test"


@pytest.fixture
def lease(tmp_path):
    def of(holder):
        return Lease(Store(tmp_path), BUCKET, KEY, holder, "results/test")

    return of


def entries(of):
    return [stored.key for stored in of.store.list(BUCKET, KEY)]


def test_one_holder_at_a_time_and_the_other_is_told_who_where_and_how_long(lease):
    lease("one").take(60)
    with pytest.raises(LeaseHeldError, match=r"results/test is held by run one \(.+, pid \d+\), for (59|60) s more"):
        lease("two").take(60)


def test_the_same_holder_renews(lease):
    lease("one").take(1)
    lease("one").take(60)
    with pytest.raises(LeaseHeldError, match=r"for (59|60) s"):
        lease("two").take()


def test_what_is_released_can_be_taken_and_one_small_object_is_left(lease):
    lease("one").take()
    lease("one").release()
    lease("two").take()
    lease("two").release()
    assert len(entries(lease("two"))) == 1


def test_another_holders_lease_is_not_released(lease):
    lease("one").take()
    lease("two").release()
    with pytest.raises(LeaseHeldError, match="run one"):
        lease("two").take()


def test_a_release_without_a_lease_is_nothing(lease):
    lease("one").release()
    assert entries(lease("one")) == []


def test_an_expired_lease_is_nobodys(lease):
    lease("one").take(-1)
    lease("two").take(60)
    with pytest.raises(LeaseHeldError, match="run two"):
        lease("one").take()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"7", b'{"holder": "one", "expires": "soon"}'])
def test_a_damaged_lease_is_nobodys(lease, damage):
    first = lease("two")
    first.store.write(BUCKET, f"{KEY}/00000004.lease", damage)
    first.take()
    (key,) = entries(first)
    assert json.loads(first.store.read(BUCKET, key))["holder"] == "two"


def test_a_lease_on_a_folder_below_is_another_one(lease, tmp_path):
    Lease(Store(tmp_path), BUCKET, f"{KEY}/deeper", "two").take()
    lease("one").take()


def test_of_many_who_try_at_once_one_wins_also_when_an_expired_lease_is_there(lease):
    for round_ in range(5):
        lease(f"dead {round_}").take(-1)
        start = threading.Barrier(8)

        def attempt(who, start=start, round_=round_):
            start.wait()
            try:
                lease(f"{who} of {round_}").take(60)
            except LeaseHeldError:
                return None
            return who

        with ThreadPoolExecutor(8) as threads:
            won = [who for who in threads.map(attempt, range(8)) if who is not None]
        assert len(won) == 1
        lease(f"{won[0]} of {round_}").release()


def test_who_acts_on_a_look_from_long_ago_takes_nothing(lease):
    late = lease("late")
    lease("one").take(-1)
    seen = late._newest()
    for _ in range(3):
        lease("two").take(60)
    assert not late._follow(seen, 60)
    with pytest.raises(LeaseHeldError, match="run two"):
        late.take(60)
    lease("two").release()


def number(of):
    return int(entries(of)[-1].rpartition("/")[2].removesuffix(".lease"))


def test_a_kept_lease_is_renewed_again_and_again_and_given_back_at_the_end(lease):
    with lease("one").keep(2.0) as kept:
        deadline = time.monotonic() + 60
        while number(lease("one")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kept.check()
        with pytest.raises(LeaseHeldError, match="run one"):
            lease("two").take()
    lease("two").take()


def test_who_was_taken_over_while_it_could_not_renew_is_told_and_leaves_the_new_holder_alone(lease, monkeypatch):
    def away(*_):
        raise StoreError("the store is away")

    with lease("one").keep(0.4) as kept:
        with monkeypatch.context() as patch:
            patch.setattr(Lease, "renew", away)
            time.sleep(0.6)
            lease("two").take(60)
        kept._thread.join(timeout=60)
        with pytest.raises(LeaseHeldError, match=r"taken over by run two .* did not renew its hold for 0\.4 s"):
            kept.check()
    with pytest.raises(LeaseHeldError, match="run two"):
        lease("three").take()


def test_a_takeover_is_found_out_when_it_matters_and_not_only_at_the_next_renewal(lease):
    with lease("one").keep(60) as kept:
        two = lease("two")
        two._follow(two._newest(), 60.0)  # as if the first had slept for longer than its lease lives
        with pytest.raises(LeaseHeldError, match="taken over by run two"):
            kept.check()


def test_a_lease_that_a_machines_last_step_gave_back_is_not_lost(lease):
    with lease("one").keep(0.4) as kept:
        lease("one").release()
        kept._thread.join(timeout=60)
        assert not kept._thread.is_alive()
        kept.check()


@pytest.mark.skipif(not leases._this_process(), reason="needs /proc to tell processes apart")
class TestADeadHolder:
    def held_by_a_process(self, tmp_path, attended):
        code = (
            "import sys; from inference.storage.lease import Lease; from inference.storage.store import Store\n"
            f"Lease(Store({str(tmp_path)!r}), {BUCKET!r}, {KEY!r}, 'one').take(60, attended={attended})\n"
            "print('held', flush=True); sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "held\n"
        return process

    def test_is_found_out_at_once_on_its_own_machine_even_before_it_was_waited_for(self, lease, tmp_path):
        with self.held_by_a_process(tmp_path, attended=True) as process:
            with pytest.raises(LeaseHeldError, match=f"pid {process.pid}"):
                lease("two").take()
            process.kill()
            deadline = time.monotonic() + 30
            while leases._process(process.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            lease("two").take()

    def test_that_left_its_lease_to_a_machine_is_waited_for(self, lease, tmp_path):
        with self.held_by_a_process(tmp_path, attended=False) as process:
            process.kill()
            process.wait()
            with pytest.raises(LeaseHeldError, match="run one"):
                lease("two").take()

    def test_on_another_machine_is_known_by_its_lease_alone(self, lease, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(leases, "_this_process", lambda: "other-machine pid:[1] 1 1")
            lease("one").take(60, attended=True)
        with pytest.raises(LeaseHeldError):
            lease("two").take()


@pytest.mark.slow
def test_over_s3_one_of_many_wins_too(aws, deployed):
    def attempt(who):
        try:
            Lease(Store("s3://"), BUCKET, ".cosmic/leases/race", str(who)).take(60)
        except LeaseHeldError:
            return None
        return who

    Lease(Store("s3://"), BUCKET, ".cosmic/leases/race", "dead").take(-1)
    with ThreadPoolExecutor(8) as threads:
        won = [who for who in threads.map(attempt, range(8)) if who is not None]
    assert len(won) == 1
