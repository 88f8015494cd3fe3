import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.sweeps.run_metrics import METRICS, STAGES, checked_document, figures_of, rank_seconds, shares
from tests.support.swept import measured


def document(**changes):
    return json.loads(json.dumps(measured(repeats=1)[0].document)) | changes


def rank(number, start, end, **changes):
    row = {"rank": number, "samples": 100, "started_at": start, "ended_at": end, "cold": False, "peak_rss_mb": 500.0}
    row |= {"wall_total_s": end - start, "cpu_total_s": end - start, "resumed": False}
    return row | {f"wall_{stage}_s": 0.0 for stage in STAGES} | changes


def of_ranks(*ranks, **changes):
    return document(ranks=list(ranks), **changes)


def test_throughput_in_bits_is_that_in_samples_times_164160():
    figures = figures_of(document())
    assert figures["mbit_per_s"] * 1e6 == pytest.approx(164_160 * figures["samples_per_s"])


def test_concurrent_ranks_are_the_most_that_overlapped():
    run = of_ranks(rank(0, 0.0, 4.0), rank(1, 1.0, 3.0), rank(2, 2.0, 5.0), rank(3, 4.5, 6.0))
    assert figures_of(run)["concurrent_ranks"] == 3


def test_a_rank_that_starts_when_another_ends_does_not_overlap_with_it():
    run = of_ranks(rank(0, 0.0, 1.0), rank(1, 1.0, 2.0), rank(2, 2.0, 2.0))
    assert figures_of(run)["concurrent_ranks"] == 1


def test_memory_is_that_of_the_rank_that_used_most():
    assert figures_of(of_ranks(rank(0, 0, 1), rank(1, 0, 1, peak_rss_mb=900.0)))["peak_memory_mb"] == 900


def test_time_per_batch_is_reading_and_computing_over_the_batches():
    run = of_ranks(rank(0, 0, 9, wall_read_s=1.0, wall_compute_s=4.0, wall_load_s=3.0), request={"batch_size": 20})
    assert figures_of(run)["batch_s"] == pytest.approx(1.0)


def test_an_outlier_is_left_out_of_the_mean_rank_time():
    ranks = [rank(n, 0.0, 2.0 + 0.01 * n) for n in range(9)]
    assert figures_of(of_ranks(*ranks, rank(9, 0.0, 50.0)))["warm_rank_s"] == pytest.approx(2.04)


def test_cold_ranks_are_told_apart_from_warm_ones():
    run = of_ranks(rank(0, 0, 5, cold=True), rank(1, 0, 2), rank(2, 0, 2))
    figures = figures_of(run)
    assert (figures["cold_rank_s"], figures["warm_rank_s"], figures["cold_ranks"]) == (5, 2, 1)
    assert rank_seconds(run, cold=True) == [5]


def test_a_run_without_warm_ranks_has_no_warm_rank_time():
    assert "warm_rank_s" not in figures_of(of_ranks(rank(0, 0, 5, cold=True)))


def test_shares_of_the_stages_and_the_rest_add_up_to_one():
    found = shares([rank(0, 0, 10, wall_load_s=1.0, wall_read_s=2.0, wall_compute_s=4.0, wall_write_s=0.5)])
    assert found == pytest.approx({"load": 0.1, "read": 0.2, "compute": 0.4, "write": 0.05, "rest": 0.25})
    assert shares([]) == {}


def test_ranks_of_an_earlier_run_do_not_count_unless_there_are_no_others():
    earlier, now = rank(0, 0, 9, resumed=True), rank(1, 20, 22)
    assert figures_of(of_ranks(earlier, now))["warm_rank_s"] == 2
    assert figures_of(of_ranks(earlier))["warm_rank_s"] == 9


def test_what_is_not_known_is_left_out():
    figures = figures_of(document(makespan_s=None, samples_per_s=None, cost={"usd": None}))
    assert not {"makespan_s", "samples_per_s", "usd", "usd_per_million"} & set(figures)


def test_every_metric_of_a_whole_run_is_known_and_says_what_it_is():
    on_a_cluster = measured(repeats=1, executor="dask", partition_size="25MB")[0]
    assert set(on_a_cluster.figures) | {"warm_rank_s"} == set(METRICS)
    of_a_cluster = {"cluster_usd", "core_s_allocated", "core_s_used"}
    assert set(figures_of(document())) == set(METRICS) - of_a_cluster
    assert all(metric.title and metric.how for metric in METRICS.values())


def test_a_document_of_a_run_is_taken():
    assert checked_document(document(), "x")["samples"] > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ranks": None}, "x is no run's document: it has no list of ranks"),
        ({"request": []}, "x is no run's document: it has no request"),
        ({"request": {"batch_size": "many"}}, "x: request.batch_size must be a whole number, not 'many'"),
        ({"makespan_s": "3"}, "x has a wrong makespan_s: '3'"),
        ({"makespan_s": 1e300}, "x has a wrong makespan_s: 1e+300"),
        ({"makespan_s": 1e-320}, "x has a wrong makespan_s: 1e-320"),
        ({"makespan_s": float("inf")}, "x has a wrong makespan_s: inf"),
        ({"samples": 0}, "x counts no samples"),
        ({"cost": 3}, "x has no cost"),
        ({"cost": {"usd": -1}}, "x has a wrong cost.usd: -1"),
        ({"cluster": "SLURM"}, "x has a wrong cluster: 'SLURM'"),
        ({"cluster": {"usd": -1}}, "x has a wrong cluster.usd: -1"),
        ({"ranks": [7]}, "x: row 0 of its ranks is no object"),
        ({"ranks": [{"rank": 3}]}, "x: rank 3 lacks samples"),
        ({"ranks": [rank(4, 0, 1, cold="no")]}, "x: rank 4 does not say whether it was cold"),
        ({"ranks": [rank(4, 0, 1, wall_read_s=True)]}, "x: rank 4 has a wrong wall_read_s: True"),
    ],
)
def test_a_document_that_is_broken_is_refused_by_place_and_key(changes, expected):
    with pytest.raises(BadInput) as raised:
        checked_document(document(**changes), "x")
    assert str(raised.value) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(sorted(document())), value=JSON, row=st.sampled_from(sorted(rank(0, 0, 1))), cell=JSON)
def test_any_document_that_is_taken_gives_finite_figures(key, value, row, cell):
    tried = document(**{key: value})
    if tried["ranks"] and isinstance(tried["ranks"], list) and isinstance(tried["ranks"][0], dict):
        tried["ranks"][0][row] = cell
    try:
        taken = checked_document(tried, "x")
    except BadInput as error:
        assert str(error).startswith("x")
        return
    assert all(abs(value) < float("inf") for value in figures_of(taken).values())
