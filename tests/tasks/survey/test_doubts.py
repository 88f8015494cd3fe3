import numpy as np
import pytest
from astropy.table import Table

from inference.contract.plausible import PREDICTION, REDSHIFT
from tasks.photoz.quality import read_table
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions
from tasks.survey.doubts import redshift_doubts
from tasks.survey.inspect_file import inspect_file
from tasks.survey.object_table import read_objects

Z = np.array([0.02, 0.1, 0.2, 0.35, 0.5, 0.8])
RA, DEC = np.linspace(3, 350, 6), np.linspace(-40, 60, 6)


def doubts(tmp_path, **columns):
    """What is said of a table, by ingest and by inspect."""
    table = {"objid": np.arange(6), "z_spec": Z, "ra": RA, "dec": DEC}
    if not any(name.startswith("flux") for name in columns):
        table |= {f"mag_{band}": np.linspace(17, 21, 6) for band in "ugriz"}
    Table(table | columns).write(tmp_path / "t.csv", format="ascii.csv", overwrite=True)
    notes = read_objects(tmp_path / "t.csv", tmp_path, ColumnOptions()).notes
    seen = inspect_file(tmp_path / "t.csv", ColumnOptions(), PixelOptions(), {}).doubts
    assert set(notes) <= set(seen)
    return " ".join(notes)


def test_nothing_is_said_of_a_table_as_it_should_be(tmp_path):
    assert doubts(tmp_path) == ""


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"z_spec": 1 + Z}, "every value of z_spec is above 1, with a median of 1.3: is it 1 + z?"),
        (
            {"z_spec": Z * 299792.458},
            "6 of 6 values of z_spec are no redshifts, such as 5995.85, and count as",
        ),
        ({"z_spec": -0.1 * Z}, "5 of 6 values of z_spec are negative, down to -0.08"),
        ({"ra": np.radians(RA), "dec": np.radians(DEC)}, "are they radians? The table can state the unit"),
        ({"ra": RA / 15}, "every right ascension is below 24: are they hours?"),
        ({f"A_{band}": np.full(6, 0.1) for band in "ugriz"}, "as observed: A_u ... A_z tells of the Galaxy's dust"),
        ({"ebv": np.full(6, 0.1)}, "as observed: ebv tells of the Galaxy's dust, and is not applied"),
        ({f"flux_{band}": 3631.0 * np.logspace(3, 5, 6) for band in "ugriz"}, "magnitudes have a median of 3.6 from"),
    ],
)
def test_what_looks_as_another_quantity_is_said(tmp_path, columns, said):
    assert said in doubts(tmp_path, **columns)


def test_marks_for_unknown_are_no_doubt():
    assert redshift_doubts("z", np.array([0.1, -9999.0, np.nan, 99.0, 0.0, 0.2]), REDSHIFT) == []


def test_nearby_galaxies_that_approach_are_no_doubt():
    assert redshift_doubts("z", np.array([-0.001, 0.001]), REDSHIFT) == []


def test_distant_quasars_are_no_doubt():
    assert redshift_doubts("z", np.linspace(1.9, 4, 9), REDSHIFT) == []


def test_metrics_say_when_a_column_holds_one_plus_the_redshift(tmp_path):
    Table({"z_spec": Z, "z_phot": 1 + Z}).write(tmp_path / "t.csv", format="ascii.csv")
    _, columns = read_table(tmp_path / "t.csv", ColumnOptions())
    assert "every value of z_phot is above 1, with a median of 1.3: is it 1 + z?" in columns.notes


def test_right_ascensions_below_zero_are_turned(tmp_path):
    table = {"objid": [1], "ra": [-20.5], "dec": [1.0]} | {f"mag_{band}": [17.0] for band in "ugriz"}
    Table(table).write(tmp_path / "t.csv", format="ascii.csv")
    assert read_objects(tmp_path / "t.csv", tmp_path, ColumnOptions()).ra.tolist() == [339.5]


def test_many_predictions_of_exactly_0_are_said_and_count():
    values = np.concatenate([np.zeros(5), Z])
    (said,) = redshift_doubts("z_phot", values, PREDICTION)
    assert said.startswith("5 of 11 values of z_phot are exactly 0 and count: where they mean unknown")
    assert redshift_doubts("z_phot", values[1:], PREDICTION) == []
    assert redshift_doubts("z_spec", values, REDSHIFT) == []


@pytest.mark.parametrize("word", ["n/a", "-", "masked", "<NA>", "none", "null"])
def test_a_cell_that_says_it_is_empty_is_no_redshift(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"z_phot,z_spec\n0.1,0.1\n{word},0.2\n")
    assert np.isnan(read_table(tmp_path / "t.csv", ColumnOptions())[0]["z_pred"].to_numpy()).tolist() == [False, True]
