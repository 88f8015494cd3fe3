import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference.errors import BadInput
from tasks.photoz import metric_intervals as photoz
from tasks.photoz.metric_intervals import METRICS, bins_table, edges_of, intervals, metrics_in_bins, metrics_table
from tasks.photoz.metrics import photoz_metrics


def galaxies(count, sigma=0.01, seed=0):
    rng = np.random.default_rng(seed)
    spec = rng.uniform(0.05, 0.5, count)
    return spec + sigma * (1 + spec) * rng.normal(size=count), spec


def test_every_metric_that_is_computed_has_a_name_and_a_meaning():
    assert {metric.key for metric in METRICS} == set(photoz_metrics(*galaxies(20)))
    assert all(metric.label and metric.how for metric in METRICS)


class TestIntervals:
    def test_hold_the_metric_of_the_galaxies_they_are_drawn_from(self):
        pred, spec = galaxies(500)
        metrics = photoz_metrics(pred, spec)
        for name, (low, high) in intervals(pred, spec).items():
            assert low <= metrics[name] <= high

    def test_hold_the_truth_about_as_often_as_they_promise(self):
        hits = [
            low <= 0.01 <= high
            for seed in range(60)
            for low, high in [intervals(*galaxies(200, seed=seed), resamples=200)["sigma68"]]
        ]
        assert 0.8 < np.mean(hits) <= 1.0  # 95 % of 60, and four sigmas below

    def test_are_those_of_95_per_cent(self):
        pred, spec = galaxies(2000)
        error = np.std((pred - spec) / (1 + spec)) / np.sqrt(2000)
        assert np.ptp(intervals(pred, spec)["bias"]) == pytest.approx(2 * 1.96 * error, rel=0.08)  # 90 %: 16 % less

    def test_are_half_as_wide_for_four_times_as_many_galaxies(self):
        wide, narrow = (np.ptp(intervals(*galaxies(count))["mae"]) for count in (1000, 4000))
        assert narrow == pytest.approx(wide / 2, rel=0.25)

    def test_of_very_many_galaxies_are_scaled_from_smaller_resamples(self, monkeypatch):
        pred, spec = galaxies(8000)
        whole = intervals(pred, spec, resamples=400)
        monkeypatch.setattr(photoz, "_LARGEST", 1000)
        scaled = intervals(pred, spec, resamples=400)
        for name in ("mae", "bias", "nmad", "sigma68", "r2"):
            assert np.ptp(scaled[name]) == pytest.approx(np.ptp(whole[name]), rel=0.3)
            assert np.mean(scaled[name]) == pytest.approx(np.mean(whole[name]), abs=np.ptp(whole[name]) / 2)

    def test_are_the_same_every_time_and_leave_out_unknown_redshifts(self):
        pred, spec = galaxies(100)
        longer = np.append(pred, [0.1, 0.2]), np.append(spec, [np.nan, -9999.0])
        assert intervals(pred, spec) == intervals(*longer)

    def test_of_a_handful_of_galaxies_there_are_none(self):
        assert intervals(*galaxies(9)) == {}
        assert intervals(*galaxies(10)) != {}

    def test_a_share_of_none_is_not_taken_for_certain(self):
        pred, spec = galaxies(300, sigma=0.001)
        assert intervals(pred, spec)["outlier_fraction"] == (0.0, 0.01)
        assert intervals(pred + 1, spec)["outlier_fraction"] == (0.99, 1.0)

    def test_a_metric_that_is_not_known_has_none(self):
        pred, _ = galaxies(30)
        assert "r2" not in intervals(pred, np.full(30, 0.2))


VALUES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6) | st.just(np.nan))


@given(VALUES, st.integers(1, 20))
@example(np.array([5e-324, 0.0]), 1)
@example(np.array([1e-310, 0.0, 1e-307]), 20)
def test_bins_hold_every_finite_value_once(values, bins):
    edges = edges_of(values, bins)
    assert (np.diff(edges) > 0).all()
    finite = values[np.isfinite(values)]
    inside = (finite[:, None] >= edges[:-1]) & (finite[:, None] < edges[1:])
    assert (inside.sum(axis=1) == 1).all()


def test_inner_edges_of_bins_are_round_numbers():
    inner = edges_of(np.linspace(0.013, 0.787, 1000))[1:-1]
    assert inner.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


@pytest.mark.parametrize("asked", range(2, 41))
def test_there_are_about_as_many_bins_as_were_asked_for(asked):
    assert asked / 1.6 - 1 <= len(edges_of(np.linspace(0.0, 1.0, 10_001), asked)) - 1 <= asked * 1.6 + 1


class TestBins:
    def test_have_the_metrics_of_their_own_galaxies(self):
        pred, spec = galaxies(2000)
        rows = metrics_in_bins(spec, pred, spec, bins=4)
        assert sum(row["samples"] for row in rows) == 2000
        for row in rows:
            inside = (spec >= row["low"]) & (spec < row["high"])
            assert row["nmad"] == photoz_metrics(pred[inside], spec[inside])["nmad"]
            assert row["nmad_low"] <= row["nmad"] <= row["nmad_high"]
            assert row["low"] <= row["median"] < row["high"]

    def test_hold_a_galaxy_on_an_edge_once(self):
        pred, spec = galaxies(400)
        values = np.arange(400.0) % 9
        rows = metrics_in_bins(values, pred, spec)
        assert any(row["high"] in values for row in rows)
        assert sum(row["samples"] for row in rows) == 400

    def test_leave_out_galaxies_without_the_quantity_or_the_redshift(self):
        pred, spec = galaxies(100)
        magnitude = np.where(np.arange(100) < 10, np.nan, 18.0)
        spec[-5:] = np.nan
        assert [row["samples"] for row in metrics_in_bins(magnitude, pred, spec)] == [85]

    def test_with_few_galaxies_have_no_interval(self):
        pred, spec = galaxies(5)
        (row,) = metrics_in_bins(np.full(5, 18.0), pred, spec)
        assert row["nmad_low"] is None
        assert "±" not in "".join(bins_table("r", "magnitude", [row]).cells()[0])

    def test_tell_how_far_a_share_of_none_or_all_may_reach_and_not_half_of_it(self):
        pred, spec = galaxies(300, sigma=0.001)
        (none,) = bins_table("r", "magnitude", metrics_in_bins(np.full(300, 18.0), pred, spec)).rows
        (all_,) = bins_table("r", "magnitude", metrics_in_bins(np.full(300, 18.0), pred + 1, spec)).rows
        assert none["outlier_fraction"] == "< 1.00%"
        assert all_["outlier_fraction"] == "> 99.00%"

    @pytest.mark.parametrize(("low", "high", "expected"), [(19.5, 20.0, "19.5 to 20"), (20.0, 20.031, "20 to 20.03")])
    def test_are_called_by_ends_that_can_be_told_apart(self, low, high, expected):
        pred, spec = galaxies(5)
        (row,) = metrics_in_bins(np.full(5, 18.0), pred, spec)
        assert bins_table("r", "magnitude", [row | {"low": low, "high": high}]).rows[0]["range"] == expected


def test_the_tables_show_value_interval_meaning_and_source():
    pred, spec = galaxies(400)
    table = metrics_table(photoz_metrics(pred, spec), intervals(pred, spec))
    by_name = {row[0]: row for row in table.cells()}
    assert len(by_name) == len(METRICS)
    assert " to " in by_name["NMAD"][2]
    assert "Brammer" in by_name["NMAD"][4]
    assert by_name["Galaxies compared"][1:3] == ["400", ""]
    assert "±" in bins_table("z", "redshift", metrics_in_bins(spec, pred, spec)).cells()[2][2]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadInput, match="cannot be compared"):
        metrics_in_bins(np.zeros(2), np.zeros(2), np.zeros(3))
