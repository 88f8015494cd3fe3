import re

import numpy as np
import pytest

from tasks.reporting.timeline import BARS, MOMENTS, draw_timeline, timeline
from tests.support.reported_run import ranks_of

START = 1.7e9  # of the first rank


def test_timeline_starts_when_ranks_were_dispatched():
    axes = draw_timeline(ranks_of(5), START - 3.0).axes[0]
    assert axes.get_xlabel() == "seconds since ranks were dispatched"
    first = min(patch.get_path().vertices[:, 0].min() for patch in axes.patches)
    assert first == pytest.approx(3.0)


@pytest.mark.parametrize("dispatched_at", [None, START + 1.0])
def test_timeline_starts_with_first_rank_where_dispatch_is_unknown_or_late(dispatched_at):
    axes = draw_timeline(ranks_of(5), dispatched_at).axes[0]
    assert axes.get_xlabel() == "seconds since the first rank's start"
    assert min(patch.get_path().vertices[:, 0].min() for patch in axes.patches) == 0


def test_many_ranks_stand_in_rows_of_workers_with_the_number_in_flight():
    by_worker, in_flight = draw_timeline(ranks_of(200, workers=8)).axes
    assert by_worker.get_ylabel() == "worker"
    assert len(by_worker.get_yticks()) == 8
    assert in_flight.get_ylabel() == "in flight"
    assert in_flight.collections[0].get_paths()[0].vertices[:, 1].max() == 8


@pytest.mark.parametrize("workers", [3, 64])
def test_some_rows_stand_for_all_where_ranks_are_many(workers):
    ranks = ranks_of(6000, workers)
    drawn, in_flight = draw_timeline(ranks).axes
    bars = {bar.get_label(): bar.get_path() for bar in drawn.patches}
    assert 1000 <= len(bars["other"].vertices) // 5 <= BARS
    longest = ranks.loc[ranks["wall_total_s"].idxmax()]
    assert longest["ended_at"] - START in bars["other"].vertices[:, 0] or workers == 3
    (counted,) = in_flight.collections[0].get_paths()
    assert len(counted.vertices) <= 4 * MOMENTS + 3
    assert counted.vertices[:, 1].max() == workers


def test_ranks_of_a_part_of_a_run_are_not_counted_in_flight():
    assert len(draw_timeline(ranks_of(200), whole=False).axes) == 1


def test_many_ranks_of_unknown_or_single_workers_keep_their_own_rows():
    for worker in ("", [f"pid {n}" for n in range(70)]):
        (axes,) = draw_timeline(ranks_of(70).assign(worker=worker)).axes
        assert axes.get_ylabel() == "rank"


def test_bar_tells_its_figures_under_the_pointer_and_escapes_names():
    ranks = ranks_of(3).assign(worker="<b>&")
    ranks.loc[2, ["started_at", "ended_at"]] = np.nan
    titles = re.findall(r"<rect [^>]*><title>(.*?)</title>", timeline(ranks, START - 3.0))
    assert len(titles) == 2
    assert titles[0].startswith("rank 0: ")
    assert " s from 3.000 s on (load the engine 1.400, read 0.400" in titles[0]
    assert titles[0].endswith("5,113 galaxies, attempt 1, &lt;b&gt;&amp;")


def test_rectangles_of_titles_lie_over_their_bars():
    svg = timeline(ranks_of(1), START)
    x, y, width, height = map(float, re.search(r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', svg).groups())
    _, _, full_width, full_height = map(float, re.search(r'viewBox="(.*?)"', svg).group(1).split())
    assert 0 < x < 0.2 * full_width
    assert x + width == pytest.approx(full_width, rel=0.03)
    assert 0 < y < y + height < full_height
