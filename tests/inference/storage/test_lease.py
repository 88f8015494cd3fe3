import dataclasses
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.storage import lease as leases
from inference.storage import process_identity
from inference.storage.lease import Lease, LeaseHeldError, lease_beside
from inference.storage.store import Store

BUCKET, KEY = "cosmicai-test", ".cosmic/leases/results/test"


@pytest.fixture
def lease(tmp_path):
    def of(holder):
        return Lease(Store(tmp_path), BUCKET, KEY, holder, "results/test")

    return of


def entries(of):
    return [stored.key for stored in of.store.list(BUCKET, KEY)]


def test_one_holder_at_a_time_and_the_other_learns_who_where_and_how_long(lease):
    lease("one").take(60)
    with pytest.raises(LeaseHeldError, match=r"results/test is held by run one \(.+, pid \d+\), for (59|60) s more"):
        lease("two").take(60)


def test_the_same_holder_renews(lease):
    lease("one").take(1)
    lease("one").take(60)
    with pytest.raises(LeaseHeldError, match=r"for (59|60) s"):
        lease("two").take(60)


def test_what_is_released_can_be_taken_and_one_small_object_is_left(lease):
    lease("one").take(60)
    lease("one").release()
    lease("two").take(60)
    lease("two").release()
    assert len(entries(lease("two"))) == 1


def test_another_holders_lease_is_not_released(lease):
    lease("one").take(60)
    lease("two").release()
    with pytest.raises(LeaseHeldError, match="run one"):
        lease("two").take(60)


def test_a_release_without_a_lease_is_nothing(lease):
    lease("one").release()
    assert entries(lease("one")) == []


def test_an_expired_lease_is_nobodys(lease):
    lease("one").take(-1)
    lease("two").take(60)
    with pytest.raises(LeaseHeldError, match="run two"):
        lease("one").take(60)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"7", b'{"holder": "one", "seconds": "60"}'])
def test_a_damaged_lease_is_nobodys(lease, damage):
    first = lease("two")
    first.store.write(BUCKET, f"{KEY}/00000004.lease", damage)
    first.take(60)
    (key,) = entries(first)
    assert json.loads(first.store.read(BUCKET, key))["holder"] == "two"


def test_a_lease_on_a_folder_below_is_another_one(lease, tmp_path):
    Lease(Store(tmp_path), BUCKET, f"{KEY}/deeper", "two").take(60)
    lease("one").take(60)


def test_one_of_many_takers_wins_even_over_an_expired_lease(lease):
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
    seen = late.newest()
    for _ in range(3):
        lease("two").take(60)
    assert not late.append(seen)
    with pytest.raises(LeaseHeldError, match="run two"):
        late.take(60)
    lease("two").release()


def number(of):
    return int(entries(of)[-1].rpartition("/")[2].removesuffix(".lease"))


def test_a_kept_lease_is_renewed_again_and_again_and_given_back_at_the_end(lease):
    with lease("one").keep(2.0) as held:
        deadline = time.monotonic() + 60
        while number(lease("one")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        held.check()
        with pytest.raises(LeaseHeldError, match="run one"):
            lease("two").take(60)
    lease("two").take(60)


def taken_over(of):
    """Take the lease as if its holder had slept for longer than the lease lives."""
    of.append(dataclasses.replace(of.newest(), seconds=0.0))
    return of.take(60)


def test_lease_taken_over_is_left_alone_by_its_former_holder(lease):
    with lease("one").keep(60) as held:
        taken_over(lease("two"))
        with pytest.raises(LeaseHeldError, match=r"taken over by run two .* did not renew its lease in time"):
            held.check()
    with pytest.raises(LeaseHeldError, match="run two"):
        lease("three").take(60)


def test_check_outlasts_a_store_that_is_away_for_a_second(lease, tmp_path):
    held = lease("one").take(60)
    there, away = tmp_path / BUCKET, tmp_path / "away"
    there.rename(away)
    there.write_text("no folder")

    def come_back():
        there.unlink()
        away.rename(there)

    threading.Timer(0.5, come_back).start()
    held.check()
    assert lease("one").newest().holder == "one"


def test_lease_cannot_be_committed_by_its_former_holder(lease):
    with lease("one").keep(60) as held:
        other = taken_over(lease("two"))
        with pytest.raises(LeaseHeldError, match="taken over by run two"):
            held.commit()
        assert lease("three").newest().committed == 0
        other.commit()
        assert lease("three").newest().committed == other.generation > held.generation


def test_lease_of_the_same_name_in_another_process_has_a_token_of_its_own(lease):
    first = lease("one").take(60, attended=True)
    second = lease("one").take(60, attended=True)
    assert second.generation > first.generation
    with pytest.raises(LeaseHeldError):
        first.commit()


def test_lease_taken_again_unattended_keeps_its_generation(lease):
    assert lease("one").take(60).generation == lease("one").take(60).generation
    assert lease("one").join().generation == lease("one").take(60).generation
    assert lease("two").join() is None


def test_commitment_outlives_renewal_release_and_takeover(lease):
    with lease("one").keep(60) as held:
        held.commit()
        held.check()
    lease("two").take(60)
    assert lease("two").newest().committed == held.generation


def test_lease_released_by_a_machines_last_step_is_not_lost(lease):
    with lease("one").keep(60) as held:
        lease("one").release()
        held.check()
    lease("two").take(60)


def test_temporary_lease_that_another_one_had_meanwhile_is_lost(tmp_path):
    """A command that slept, while another one with the same output began and ended, finds no trace of that one."""
    slept = lease_beside(tmp_path / "out", "cosmic train", "the training")
    with slept.keep(temporary=True) as held:
        held.check()
        slept.append(dataclasses.replace(slept.newest(), seconds=0.0))  # in place of a minute's waiting
        with lease_beside(tmp_path / "out", "cosmic train", "the training").keep(temporary=True):
            pass
        with pytest.raises(LeaseHeldError, match="the training was taken over by another command, which has ended"):
            held.check()
    assert not list(tmp_path.iterdir())


def test_temporary_lease_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "model"
    with lease_beside(folder, "cosmic train", "the training").keep(temporary=True):
        refused = pytest.raises(LeaseHeldError, match="the training is held by run cosmic train")
        with refused, lease_beside(folder, "cosmic train", "the training").keep(temporary=True):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ahead_s", [3_600.0, -3_600.0])
def test_lease_lasts_no_longer_for_a_holder_whose_clock_is_wrong(lease, monkeypatch, ahead_s):
    wrong = time.time() + ahead_s
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: wrong)
        lease("one").take(1.0)
        with pytest.raises(LeaseHeldError, match=r"for [01] s more"):
            lease("two").take(60)
    time.sleep(1.1)
    lease("two").take(60)


@pytest.mark.skipif(not process_identity.this_process(), reason="needs /proc to tell processes apart")
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

    def test_a_dead_holder_is_noticed_at_once_on_its_own_machine(self, lease, tmp_path):
        with self.held_by_a_process(tmp_path, attended=True) as process:
            with pytest.raises(LeaseHeldError, match=f"pid {process.pid}"):
                lease("two").take(60)
            process.kill()
            deadline = time.monotonic() + 30
            while process_identity.identity_of(process.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            lease("two").take(60)

    def test_that_left_its_lease_to_a_machine_is_waited_for(self, lease, tmp_path):
        with self.held_by_a_process(tmp_path, attended=False) as process:
            process.kill()
            process.wait()
            with pytest.raises(LeaseHeldError, match="run one"):
                lease("two").take(60)

    def test_on_another_machine_is_known_by_its_lease_alone(self, lease, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(leases, "this_process", lambda: "other-machine pid:[1] 1 1")
            lease("one").take(60, attended=True)
        with pytest.raises(LeaseHeldError):
            lease("two").take(60)


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
