import io
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from tasks.sweeps.cells import cells_of
from tasks.sweeps.pareto import on_front
from tasks.sweeps.plots import LINES, plots_of
from tests.support.swept import SWEEPS, measured

pytestmark = pytest.mark.slow


def plots(runs=None, **axes):
    return {plot.name: plot for plot in plots_of(cells_of(measured(**axes) if runs is None else runs))}


@cache
def plots_of_sweep(name):
    """The plots of a sweep of SWEEPS, which are only looked at."""
    return plots(**SWEEPS[name])


def texts(svg):
    return [text.strip() for text in ET.fromstring(svg).itertext() if text.strip()]  # noqa: S314 - our own


@pytest.mark.parametrize(
    ("sweep", "names"),
    [
        ("batch", {"batch-size", "pareto"}),
        ("partition", {"partition-size", "pareto"}),
        ("memory", {"memory", "pareto"}),
        ("smoke", {"batch-size", "data-size", "partition-size", "cost", "pareto"}),
        ("executors", {"pareto"}),
        ("single", set()),
    ],
)
def test_a_sweep_has_the_plots_for_which_it_has_points(sweep, names):
    assert set(plots_of_sweep(sweep)) == names | {"timeline-fastest", "timeline-slowest"}


def test_every_plot_is_one_scalable_element_and_a_png_of_1200_pixels():
    for plot in plots(data_size=["1GB", "2GB"], partition_size=["50MB", "100MB"]).values():
        svg = ET.fromstring(plot.svg)  # noqa: S314 - our own
        assert svg.tag.endswith("}svg")
        assert not {"width", "height"} & set(svg.keys())
        assert imread(io.BytesIO(plot.png)).shape[1] == 1200
        assert plot.title
        assert plot.caption.endswith(".")


def test_plots_of_one_page_share_no_id():
    ids = [name for plot in plots_of_sweep("smoke").values() for name in re.findall(r'\bid="([^"]+)"', plot.svg)]
    assert len(ids) == len(set(ids))


def test_time_and_throughput_are_drawn_at_the_batch_sizes_measured():
    shown = texts(plots_of_sweep("batch")["batch-size"].svg)
    assert {"makespan in s", "samples per second", "batch size", "32", "64", "128", "256", "512"} <= set(shown)


def test_cost_has_a_line_for_each_partition_size():
    shown = texts(plots(data_size=["1GB", "2GB"], partition_size=["25MB", "50MB"])["cost"].svg)
    assert {"cost in USD", "data read in GB", "25 MB", "50 MB"} <= set(shown)


def test_axes_are_logarithmic_where_the_range_asks_for_it():
    wide = texts(plots(data_size=["0.05GB", "1GB", "12.6GB"], repeats=2)["cost"].svg)
    narrow = texts(plots(data_size=["1GB", "2GB"], repeats=2)["cost"].svg)
    assert {"0.005", "0.05", "0.2"} <= set(wide)
    assert "0" in narrow
    assert "0" not in wide


def test_a_single_point_draws_no_line():
    runs = [*measured(batch_size=[32, 64], partition_size="25MB"), *measured(partition_size="50MB", batch_size=32)]
    assert "50 MB" not in texts(plots(runs)["batch-size"].svg)


def test_more_lines_than_can_be_told_apart_are_cut_and_the_caption_says_so():
    sizes = [f"{n}MB" for n in range(50, 130, 10)]
    plot = plots(partition_size=sizes, batch_size=[64, 128], repeats=1)["batch-size"]
    assert f"Drawn are the first {len(LINES)} of {len(sizes)} lines" in plot.caption
    assert "120 MB" not in texts(plot.svg)


def test_pareto_numbers_every_point_of_a_small_sweep():
    shown = texts(plots_of_sweep("partition")["pareto"].svg)
    assert {"1", "2", "3", "4", "on the front", "behind it"} <= set(shown)
    named = {re.sub(r"^\d\s+", "", text) for text in shown if text.endswith("MB")}
    assert named == {"25 MB", "50 MB", "75 MB", "100 MB"}


def test_pareto_of_many_cells_numbers_the_front_and_says_so():
    plot = plots(batch_size=list(range(20, 200, 15)), repeats=1)["pareto"]
    assert "points are numbered; all cells are in the tables." in plot.caption


def test_time_and_cost_are_compared_among_cells_of_one_data_size():
    plot = plots(data_size=["1GB", "2GB"], partition_size=["50MB", "100MB"])["pareto"]
    assert "A point is a cell of 2 GB" in plot.caption


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_nothing_on_the_front_is_beaten_and_everything_behind_it_is(points):
    front = [point for point, best in zip(points, on_front(points), strict=True) if best]
    assert front
    for x, y in points:
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in front)
        assert beaten != ((x, y) in front)


def test_the_fastest_and_the_slowest_run_are_drawn_and_named():
    found = plots(batch_size=[8, 128], noise=0.0)
    assert "(batch 128, run " in found["timeline-fastest"].caption
    assert "(batch 8, run " in found["timeline-slowest"].caption


def test_of_very_many_ranks_some_are_drawn_and_the_caption_says_so():
    (plot, _) = plots(data_size="55GB", partition_size="25MB", executor="lambda", repeats=2).values()
    assert plot.caption.endswith("Drawn is one rank of 3.")
    assert len(plot.svg) < 500_000


def test_failed_cells_are_not_drawn_and_nothing_at_all_is_no_error():
    runs = measured(batch_size=[32, 64])
    assert "batch-size" not in plots(
        [replace(run, failed="x") if run.axes["batch_size"] == 32 else run for run in runs]
    )
    assert plots([replace(run, failed="x", document={}) for run in runs]) == {}
    assert plots([]) == {}


def test_figures_that_are_not_known_are_left_out():
    runs = [replace(run, document=run.document | {"cost": {}, "ranks": []}) for run in measured(batch_size=[32, 64])]
    assert set(plots(runs)) == {"batch-size"}


def test_lines_differ_by_marker_and_dash_and_neighbours_by_lightness():
    assert len({marker for _, marker, _ in LINES}) == len({str(dash) for _, _, dash in LINES}) == len(LINES)
    light = [np.dot([0.2126, 0.7152, 0.0722], np.array(to_rgb(colour)) ** 2.2) for colour, _, _ in LINES]
    assert all(abs(a - b) > 0.08 for a, b in itertools.pairwise(light))


def test_pyplot_and_its_global_state_are_not_loaded():
    code = "import sys, tasks.sweeps.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
