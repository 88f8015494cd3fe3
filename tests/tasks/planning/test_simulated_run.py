import dataclasses
import time
from random import Random

import pytest

from inference.contract.run_request import RunRequest
from tasks.planning.environments import Environments, Left
from tasks.planning.shipped import shipped
from tasks.planning.simulated_executor import Place
from tasks.planning.simulated_run import Configuration, planned_events, simulate_run
from tasks.planning.stages import Line
from tasks.planning.virtual_clock import VirtualClock
from tests.support.surveys import request_of

STEADY = dataclasses.replace(
    shipped("local"),
    start_s=(1.0,),
    load_s=(0.5,),
    read=Line(0.0, 0.0),
    compute=Line(0.0, 0.01),
    write=Line(0.0, 0.0),
    rest_s=0.0,
    factors=(1.0,),
    run_spread=0.0,
    task_run_s=0.0,
    send_s=0.0,
    around=Line(2.0, 0.0),
    around_spread=0.0,
    parallel=1.0,
    processors=1.0,
)


def place(executor="local", concurrency=2, **changes):
    ramps = executor in {"lambda", "step-functions"}
    return Place(executor, concurrency, 1000, ramps, 1769, 1.0, 900.0, **changes)


def run(model=STEADY, where=None, samples=(100,) * 4, seed=0, **request):
    configuration = Configuration(RunRequest.read(request_of(**request)), where or place(), samples, on_s3=False)
    return simulate_run(configuration, model, planned_events(configuration), Random(seed))


def test_two_workers_take_two_turns_of_four_ranks_after_their_cold_starts():
    result = run()
    assert result.makespan_s == pytest.approx(0.5 + 1.0 + 1.0)  # a rank starts when its process has
    assert result.end_to_end_s == pytest.approx(result.makespan_s + 2.0)
    assert result.failed == 0


def test_simulated_run_of_hours_takes_no_more_turns_than_one_of_seconds(monkeypatch):
    waits, wait = [], VirtualClock.wait
    monkeypatch.setattr(VirtualClock, "wait", lambda *given: waits.append(given) or wait(*given))
    assert run(samples=(80_000,) * 4).makespan_s == pytest.approx(0.5 + 800.0 + 800.0)
    assert len(waits) < 100


def test_warm_environments_start_at_once_and_load_no_model_they_hold():
    def after(*left):
        configuration = Configuration(
            RunRequest.read(request_of()), place(), (100,) * 2, on_s3=False, environments=Environments(left)
        )
        return simulate_run(configuration, STEADY, planned_events(configuration), Random(0))

    loaded, without_model = (1.0, Left(5.0, True)), (1.0, Left(5.0, False))
    assert (after(loaded, loaded).makespan_s, after(loaded, loaded).cold) == (pytest.approx(1.0), 0)
    assert after(without_model, loaded).makespan_s == pytest.approx(1.5)
    assert (after(loaded).makespan_s, after(loaded).cold) == (pytest.approx(1.0 + 1.5), 1)


def test_pauses_between_the_ranks_of_a_worker_hold_up_no_other_worker():
    slow_flow = dataclasses.replace(STEADY, turns_s=((0.7,),))
    assert run(slow_flow).makespan_s == pytest.approx(run().makespan_s + 0.7)
    machine = place("step-functions")
    assert run(slow_flow, machine).makespan_s == pytest.approx(run(where=machine).makespan_s + 0.7)


def test_twice_the_processors_halve_what_is_computed():
    fast = dataclasses.replace(place(), processors=2.0)
    assert run(where=fast).makespan_s == pytest.approx(0.5 + 0.5 + 0.5)


def test_attempts_that_fail_are_tried_again_and_are_billed():
    failing = dataclasses.replace(STEADY, failure_rate=0.5)
    sure, unsure = run(samples=(100,) * 20), run(failing, samples=(100,) * 20)
    assert unsure.failed > 0  # three attempts at one half each
    assert unsure.cost.usd > 1.3 * sure.cost.usd
    assert unsure.makespan_s > sure.makespan_s


def test_a_rank_that_outlasts_its_time_limit_fails_every_attempt():
    slow = dataclasses.replace(place(), timeout_s=0.9)
    assert run(where=slow).failed == 4


def test_late_ranks_get_backups_on_lambda_as_the_dispatcher_gives_them():
    tailed = dataclasses.replace(STEADY, factors=(1.0,) * 49 + (30.0,))
    lambdas = place("lambda", 1000)
    with_backups = run(tailed, lambdas, (100,) * 200)
    without = run(tailed, lambdas, (100,) * 200, hedging=False)
    assert with_backups.backups > 0
    assert with_backups.makespan_s < without.makespan_s


def test_new_environments_come_at_a_thousand_in_ten_seconds():
    calls = place("lambda", 1500)
    calls = dataclasses.replace(calls, environments=1500)
    result = run(where=calls, samples=(1000,) * 1500)
    assert result.refused > 0
    assert result.makespan_s > 10.0 + 0.5 + 4.0  # the last 500 wait, some five seconds and their pauses


def test_the_same_seed_simulates_the_same_run():
    model = shipped("step-functions")
    where = place("step-functions", 1000)
    assert run(model, where, seed=3).makespan_s == run(model, where, seed=3).makespan_s


def test_run_timeout_ends_a_simulated_run_as_it_ends_a_real_one():
    assert run(samples=(100,) * 40, run_timeout=5.0).failed > 0


@pytest.mark.slow
def test_ten_thousand_ranks_are_simulated_whole():
    began = time.process_time()
    result = run(shipped("lambda"), place("lambda", 1000), (1278,) * 10_000)
    assert result.failed == 0
    print(f"10,000 ranks: {time.process_time() - began:.2f} s of processor time")  # no test asserts a time
