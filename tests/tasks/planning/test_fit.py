import dataclasses
import math
from random import Random

import pytest

from tasks.planning.fit import comparable_runs, fit, line
from tasks.planning.history import read_run
from tasks.planning.shipped import shipped
from tasks.planning.stages import Line

KIND = {"executor": "local", "model": "ab", "engine": "onnxruntime", "precision": "float32", "workers": 1}


def document(*, samples=(100, 200), factor=1.0, of_rank=lambda: 1.0, **changes):
    rows, now = [], 0.0
    for rank, count in enumerate(samples):
        compute = factor * of_rank() * 0.01 * count
        load = 0.5 if rank == 0 else 0.0
        total = 0.1 + compute + load
        rows.append(
            {"rank": rank, "samples": count, "started_at": now, "ended_at": now + total, "peak_rss_mb": 100.0}
            | {"cpu_total_s": total, "wall_total_s": total, "wall_load_s": load, "wall_read_s": 0.1}
            | {"wall_compute_s": compute, "wall_write_s": 0.0, "cold": rank == 0, "worker": "one", "attempt": 1}
            | {"billed_s": total + (1.0 if rank == 0 else 0.0)}
        )
        now += total + 0.05
    return {
        "request": {"batch_size": 16},
        "makespan_s": now - 0.05,
        "end_to_end_s": now + 3.0,
        "samples": sum(samples),
        "cost": {"usd": 0.1},
        "executor": "local",
        "model": {"sha256": "ab"},
        "engine": "onnxruntime",
        "precision": "float32",
        "workers": 1,
        "ranks": rows,
    } | changes


def past(**changes):
    return read_run(document(**changes), "a run")


def test_stages_are_told_apart_where_ranks_differ_in_size():
    model = fit([past(samples=(100, 100, 200, 400))], shipped("local"), 1.0, "a run")
    assert model.compute.each == pytest.approx(0.01)
    assert model.load_s == (0.5,)
    assert model.start_s == pytest.approx((1.0,))
    assert model.turns_s == (pytest.approx((0.05,) * 3),)


def test_a_factor_that_a_whole_run_shares_is_no_spread_of_its_ranks():
    runs = [past(samples=(100,) * 5, factor=factor) for factor in (0.9, 1.0, 1.1)]
    model = fit(runs, shipped("local"), 1.0, "runs")
    assert max(model.factors) == pytest.approx(1.0)
    assert 0.05 < model.run_spread < 0.2


def test_ranks_that_differ_are_no_spread_of_their_runs():
    random = Random(4)
    runs = [past(samples=(100,) * 4, of_rank=lambda: math.exp(random.gauss(0, 0.3))) for _ in range(60)]
    model = fit(runs, shipped("local"), 1.0, "runs")
    assert model.run_spread < 0.08  # the medians of four such ranks differ by 0.18


def test_turns_lose_only_what_a_rank_needs_after_its_end():
    document_ = document(samples=(100,) * 3)
    for row in document_["ranks"]:
        row["wall_total_s"] += 0.02  # of it 0.02 s belong to no stage, and lie within the rank
    model = fit([read_run(document_, "a run")], shipped("local"), 1.0, "a run")
    assert model.turns_s == (pytest.approx((0.05,) * 2),)


def test_runs_of_another_machine_or_model_are_weighted_out_and_named():
    other = past(model={"sha256": "cd"}), past(machine={"cpu": "another"})
    runs, notes = comparable_runs([past(), *other], KIND | {"machine": "this"})
    assert len(runs) == 1
    assert notes == ["weighted out: 2 of 3 earlier runs, another machine (another), model (cd)"]


def test_runs_of_another_machine_count_where_there_are_no_others():
    runs, (note,) = comparable_runs([past(machine={"cpu": "old"})], KIND | {"machine": "this"})
    assert len(runs) == 1
    assert note.startswith("no earlier run has the same machine (old)") and note.endswith("from runs of weight 0.1")
    here, there = (fit(runs, shipped("local"), 1.0, "a run", elsewhere=elsewhere) for elsewhere in (False, True))
    assert there.run_spread > here.run_spread + 0.1


def test_runs_with_as_many_workers_are_preferred_and_else_it_is_said():
    runs, notes = comparable_runs([past(), past(workers=2)], KIND)
    assert ([run.document["workers"] for run in runs], notes) == ([1], [])
    _, notes = comparable_runs([past(workers=2)], KIND)
    assert "no earlier run has the same workers" in notes[0]


def test_a_line_is_never_negative():
    assert line([(100, 1.0), (200, 3.0)]).fixed == 0.0
    assert line([(100, 3.0), (200, 1.0)]).each > 0


def test_a_model_survives_its_own_document():
    model = shipped("lambda")
    assert type(model).from_dict(model.to_dict()) == model
    assert dataclasses.replace(model, around=Line(1.0, 0.0)).around.at(5) == 1.0


def test_requests_to_s3_are_those_that_earlier_bills_counted():
    items = [{"name": "S3 PUT and LIST", "quantity": 4}, {"name": "S3 GET", "quantity": 6}, "edited by hand"]
    model = fit([past(cost={"usd": 0.1, "items": items})], shipped("lambda"), 1.0, "a run")
    assert (model.s3_puts, model.s3_gets) == (2.0, 3.0)
    assert fit([past()], shipped("lambda"), 1.0, "a run").s3_puts == shipped("lambda").s3_puts
