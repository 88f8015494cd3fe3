import json
from dataclasses import replace

import pytest

from inference.errors import BadInput
from tasks.sweeps.cells import Measurement, cells_of, format_axis_value, groups_along, varying
from tests.support.swept import measured


def axes_of(cells, axis):
    return [cell.axes[axis] for cell in cells]


def test_a_measurement_survives_json():
    run = measured(repeats=1)[0]
    back = Measurement.read(json.loads(json.dumps(run.to_dict())), "x")
    assert back == run
    assert back.figures == run.figures


def test_a_failed_run_keeps_its_reason_and_no_figures():
    run = replace(measured(repeats=1)[0], failed="ranks 3 and 4 are missing")
    back = Measurement.read(run.to_dict(), "x")
    assert (back.failed, back.document) == ("ranks 3 and 4 are missing", {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": None}, "x is no measurement: it has no axes"),
        ({"axes": {"colour": 3}}, "x has a wrong axis 'colour': 3"),
        ({"axes": {"batch_size": [1]}}, r"x has a wrong axis 'batch_size': \[1\]"),
        ({"axes": {"data_size": "much"}}, "a size is written as 25MB, 1GB or 1TB, not 'much'"),
        ({"repeat": 0}, "x has a wrong repeat: 0"),
        ({"document": None}, "x is no run's document"),
    ],
)
def test_a_broken_measurement_is_refused_by_its_place(changes, message):
    with pytest.raises(BadInput, match=message):
        Measurement.read(measured(repeats=1)[0].to_dict() | changes, "x")


def test_cells_come_in_the_order_of_their_values_however_they_ran():
    cells = cells_of(
        measured(partition_size=["100MB", "25MB"], data_size=["12.6GB", "1GB", None], batch_size=[512, 32])
    )
    assert axes_of(cells, "batch_size") == [32] * 6 + [512] * 6
    assert axes_of(cells, "partition_size")[:6] == ["25MB"] * 3 + ["100MB"] * 3
    assert axes_of(cells, "data_size")[:3] == ["1GB", "12.6GB", None]
    assert all(len(cell.runs) == 3 for cell in cells)


def test_failed_runs_stand_apart_from_whole_ones():
    runs = measured()
    (cell,) = cells_of([runs[0], replace(runs[1], failed="no"), runs[2]])
    assert [run.repeat for run in cell.runs] == [1, 3]
    assert [run.repeat for run in cell.failed] == [2]
    assert len(cell.values("makespan_s")) == 2


def test_groups_along_an_axis_share_all_else_that_varies():
    cells = cells_of(measured(batch_size=[32, 64], partition_size=["25MB", "50MB"]))
    assert varying(cells) == ["batch_size", "partition_size"]
    groups = groups_along(cells, "batch_size")
    assert {label: axes_of(group, "batch_size") for label, group in groups.items()} == {
        "25 MB": [32, 64],
        "50 MB": [32, 64],
    }


def test_data_read_are_counted_in_gb_of_1024_mb():
    run = measured(repeats=1)[0]
    assert replace(run, document={"samples": 52_357}).gigabytes == pytest.approx(1, abs=1e-4)


def test_values_are_written_as_people_say_them():
    said = [
        format_axis_value("data_size", None),
        format_axis_value("partition_size", "12.5MB"),
        format_axis_value("memory_mb", 10_240),
        format_axis_value("batch_size", 32),
    ]
    assert said == ["all data", "12.5 MB", "10,240 MB memory", "batch 32"]
