import itertools
import re
import subprocess
import sys
from functools import cache
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from tasks.photoz import plots as photoz_plots
from tasks.photoz.metric_intervals import metrics_in_bins
from tasks.photoz.plots import density
from tasks.reporting.figures import COLD, PALE, STAGES, WARM, rank_time_histogram
from tasks.reporting.timeline import timeline
from tests.support.reported_run import METRICS, predictions_of, ranks_of

_ROWS = metrics_in_bins(*(predictions_of(3000)[name].to_numpy() for name in ("z_spec", "z_pred", "z_spec")))
DRAW = {
    "residuals": lambda: photoz_plots.residuals(predictions_of(3000)),
    "distributions": lambda: photoz_plots.distributions(predictions_of(3000)),
    "binned metrics": lambda: photoz_plots.binned_metrics(_ROWS, "redshift", "bins-z"),
    "timeline": lambda: timeline(ranks_of(41)),
    "rank times": lambda: rank_time_histogram(ranks_of(41)),
    "density": lambda: density(predictions_of(3000), METRICS),
}


@cache
def drawn(name):
    """A figure, drawn once for all tests that look at it."""
    return DRAW[name]()


def texts(svg):
    return [text.strip() for text in ET.fromstring(svg).itertext() if text.strip()]  # noqa: S314 - our own


def ids(svg):
    return re.findall(r'\bid="([^"]+)"', svg)


@pytest.mark.parametrize("name", DRAW)
class TestEveryFigure:
    def test_is_one_svg_element_that_scales_and_says_what_it_shows(self, name):
        svg = ET.fromstring(drawn(name))  # noqa: S314 - our own
        assert svg.tag.endswith("}svg")
        assert {"viewBox", "aria-label"} <= set(svg.keys())
        assert not {"width", "height"} & set(svg.keys())

    def test_is_drawn_the_same_every_time(self, name):
        assert DRAW[name]() == drawn(name)

    def test_needs_nothing_from_outside_and_styles_nothing_but_itself(self, name):
        svg = drawn(name)
        assert not re.search(r"<(style|script|metadata|!DOCTYPE|\?xml)", svg)
        assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)"', svg))

    def test_refers_only_to_what_it_holds(self, name):
        svg = drawn(name)
        wanted = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
        assert set(wanted) <= set(ids(svg))
        assert len(ids(svg)) == len(set(ids(svg)))


def test_figures_of_one_page_share_no_id():
    together = [name for figure in DRAW for name in ids(drawn(figure))]
    assert len(together) == len(set(together))


def test_pyplot_and_its_global_state_are_not_loaded():
    code = "import sys, tasks.reporting.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_colours_that_touch_differ_in_lightness():
    def luminance(colour):
        return np.dot([0.2126, 0.7152, 0.0722], np.array(to_rgb(colour)) ** 2.2)

    stages = [luminance(colour) for _, colour in STAGES.values()] + [luminance(PALE)]
    assert all(abs(a - b) > 0.1 for a, b in itertools.pairwise(stages))
    assert abs(luminance(COLD) - luminance(WARM)) > 0.1


@pytest.mark.parametrize("count", [1, 2, 41, 1200])
def test_few_and_many_ranks_are_drawn_with_units_on_the_axes(count):
    ranks = ranks_of(count)
    rows = "worker" if count > 60 else "rank"
    assert {rows, "seconds since the first rank's start", "load the engine", "compute"} <= set(texts(timeline(ranks)))
    assert {"ranks", "wall time of a rank in seconds"} <= set(texts(rank_time_histogram(ranks)))


def test_a_timeline_of_a_thousand_ranks_stays_a_small_document():
    assert len(timeline(ranks_of(1200))) < 600_000


def test_the_timeline_shows_the_ranks_of_this_run_only():
    ranks = ranks_of(5)
    ranks.loc[:2, "resumed"] = True
    ranks.loc[:2, ["started_at", "ended_at"]] -= 1e6
    assert "of 2 ranks" in timeline(ranks)
    assert {"3", "4"} <= set(texts(timeline(ranks)))
    ranks["resumed"] = True
    assert "of 5 ranks" in timeline(ranks)


def test_ranks_whose_times_are_unknown_or_nothing_are_no_error():
    ranks = ranks_of(4)
    ranks.loc[1, ["started_at", "ended_at", "wall_load_s"]] = np.nan
    ranks.loc[2, ["wall_load_s", "wall_read_s", "wall_compute_s", "wall_write_s", "wall_total_s"]] = 0.0
    ranks.loc[2, "ended_at"] = ranks.loc[2, "started_at"]
    assert "seconds since the first rank's start" in texts(timeline(ranks))
    assert "ranks" in texts(rank_time_histogram(ranks))


def test_ranks_that_all_took_the_same_time_are_drawn():
    ranks = ranks_of(6)
    ranks["wall_total_s"] = 2.0
    assert any("median 2 s" in text for text in texts(rank_time_histogram(ranks)))


def test_cold_and_warm_ranks_have_a_count_and_a_median_each():
    ranks = ranks_of(5)
    ranks["cold"] = [True, True, False, False, False]
    ranks["wall_total_s"] = [9.0, 7.0, 2.0, 3.0, 4.0]
    shown = texts(rank_time_histogram(ranks))
    assert "cold: 2 ranks, median 8 s" in shown
    assert "warm: 3 ranks, median 3 s" in shown


def test_the_density_shows_the_metrics_and_counts_known_redshifts_only():
    predictions = predictions_of(500)
    predictions.loc[:99, "z_spec"] = np.nan
    predictions.loc[100, "z_spec"] = -9999.0
    shown = texts(density(predictions, METRICS))
    assert {"predicted redshift", "spectroscopic redshift", "399 galaxies", "1:1"} <= set(shown)
    assert {"NMAD 0.0115", "bias +0.0020", "R² 0.970", "outliers 0.40%"} <= set(shown)


def test_the_bar_of_colours_is_drawn_as_the_cells_are():
    assert "<image" not in density(predictions_of(500), METRICS), "a dark page would turn the cells and not the bar"


def test_a_metric_that_is_not_known_is_left_out():
    assert not [text for text in texts(density(predictions_of(9), METRICS | {"r2": None})) if text.startswith("R²")]


def test_a_wild_prediction_does_not_squeeze_the_others_and_is_reported():
    predictions = predictions_of(5000)
    predictions.loc[7, "z_pred"] = 1e6
    shown = texts(density(predictions, METRICS))
    assert any(re.fullmatch(r"\d outside the frame", text) for text in shown)
    assert "0.5" in shown, "the axes still end near the redshifts there are"


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_galaxies_are_drawn(count):
    alike = pd.DataFrame({"z_pred": [0.1] * count, "z_spec": [0.1] * count})
    assert "spectroscopic redshift" in texts(density(alike, METRICS))
