import numpy as np
import pytest
from astropy import units
from astropy.table import MaskedColumn

from inference.errors import BadInput
from tasks.survey.columns import ColumnOptions
from tasks.survey.object_table import find_table, read_objects
from tests.support.fits_survey import BANDS, images_of, table_of, write_bands, write_cube


def read(path, folder=None, **columns):
    return read_objects(path, folder or path.parent, ColumnOptions(**columns))


def written(tmp_path, table, name="objects.fits"):
    form = {"csv": "ascii.csv", "vot": "votable", "ecsv": "ascii.ecsv"}.get(name.rpartition(".")[2])
    if name.endswith(".parquet"):
        table.to_pandas().to_parquet(tmp_path / name)
    else:
        table.write(tmp_path / name, format=form, overwrite=True)
    return tmp_path / name


@pytest.mark.parametrize("name", ["t.fits", "t.csv", "t.ecsv", "t.vot", "t.parquet"])
def test_every_kind_of_table_gives_the_same_objects(tmp_path, name):
    table = table_of(6)
    objects = read(written(tmp_path, table, name))
    assert objects.ids.tolist() == list(table["object_id"])
    np.testing.assert_allclose(objects.magnitudes[:, 1], table["mag_g"])
    np.testing.assert_allclose(objects.redshifts, table["z_spec"])
    np.testing.assert_allclose(objects.ra, table["ra"])


class TestColumns:
    def test_are_found_under_their_customary_names_in_any_case(self, tmp_path):
        table = table_of(3)
        for band in BANDS:
            table.rename_column(f"mag_{band}", f"modelMag_{band}")
        table.rename_columns(["object_id", "z_spec"], ["objID", "Redshift"])
        objects = read(written(tmp_path, table))
        assert objects.columns["u magnitude"] == "modelMag_u"
        assert objects.columns["redshift"] == "Redshift"

    def test_z_beside_the_other_bands_is_a_magnitude_and_no_redshift(self, tmp_path):
        table = table_of(3)
        table.remove_column("z_spec")
        for band in BANDS:
            table.rename_column(f"mag_{band}", band)
        objects = read(written(tmp_path, table))
        np.testing.assert_allclose(objects.magnitudes[:, 4], table["z"])
        assert np.isnan(objects.redshifts).all()

    def test_are_taken_by_the_names_that_are_asked_for(self, tmp_path):
        table = table_of(3, name2=["a", "b", "c"], spec=[0.1, 0.2, 0.3])
        asked = {"object_id": "name2", "redshift": "spec", "magnitudes": [f"mag_{band}" for band in "zirgu"]}
        objects = read(written(tmp_path, table), **asked)
        assert objects.ids.tolist() == ["a", "b", "c"]
        assert objects.redshifts.tolist() == [0.1, 0.2, 0.3]
        np.testing.assert_allclose(objects.magnitudes[:, 0], table["mag_z"])

    def test_of_long_whole_numbers_keep_every_digit(self, tmp_path):
        number = 1237668296598749280
        for name in ("t.fits", "t.parquet", "t.csv"):
            table = table_of(2, objid=[number, number + 1])
            table.remove_column("object_id")
            assert read(written(tmp_path, table, name)).ids.tolist() == [str(number), str(number + 1)]

    def test_of_whole_numbers_that_came_as_fractions_have_no_decimal_point(self, tmp_path):
        table = table_of(2, objid=[17.0, 18.0])
        table.remove_column("object_id")
        assert read(written(tmp_path, table, "t.parquet")).ids.tolist() == ["17", "18"]

    @pytest.mark.parametrize(
        ("change", "asked", "message"),
        [
            (lambda table: table.remove_column("mag_g"), {}, "has magnitudes in u r i z .* and none in g"),
            (lambda table: table.remove_column("object_id"), {}, "has no column for the object id"),
            (lambda table: None, {"redshift": "zz"}, r"has no column 'zz' \(--redshift\); it has object_id, mag_u"),
            (lambda table: setattr(table["mag_r"], "unit", units.nmgy), {}, "mag_r is in 'nmgy', not in mag"),
            (lambda table: setattr(table["ra"], "unit", units.hourangle), {}, "ra is in '15 deg', not in deg"),
            (
                lambda table: table.replace_column("mag_r", ["x", "y", "w"]),
                {},
                "mag_r holds something that is no number",
            ),
            (lambda table: table.replace_column("ra", [1.0, 400.0, 2.0]), {}, "ra goes beyond 360 degrees"),
            (lambda table: table.remove_rows([0, 1, 2]), {}, "has no rows"),
        ],
    )
    def test_that_will_not_do_are_named(self, tmp_path, change, asked, message):
        table = table_of(3)
        change(table)
        with pytest.raises(BadInput, match=message):
            read(written(tmp_path, table, "objects.vot" if "15 deg" in message else "objects.ecsv"), **asked)


@pytest.mark.parametrize("data", [b"", b"not a table", b"SIMPLE  =                    T", b"PAR1" + bytes(50)])
@pytest.mark.parametrize("name", ["t.fits", "t.vot", "t.parquet", "t.ecsv"])
def test_what_is_no_table_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=rf"cannot read .*{name} as a table|has no column|has no rows") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


class TestRedshifts:
    def test_that_are_masked_or_marked_as_unknown_are_unknown(self, tmp_path):
        column = MaskedColumn([0.1, 0.2, -9999.0, np.nan], mask=[False, True, False, False])
        table = table_of(4)
        table.replace_column("z_spec", column)
        redshifts = read(written(tmp_path, table)).redshifts
        assert redshifts[0] == 0.1
        assert np.isnan(redshifts[1:]).all()


class TestCutouts:
    def test_are_the_files_that_are_called_as_the_object_at_any_depth(self, tmp_path):
        for name in ("J0000", "J0001"):
            write_cube(tmp_path / "deep/er" / f"{name}.fits.gz", images_of(1)[0])
        objects = read(written(tmp_path, table_of(3), "t.csv"))
        assert [[path.name for path in paths] for paths in objects.cutouts] == [
            ["J0000.fits.gz"],
            ["J0001.fits.gz"],
            [],
        ]

    @pytest.mark.parametrize("joint", "_-.")
    def test_may_be_five_a_missing_one_being_named_when_it_is_read(self, tmp_path, joint):
        write_bands(tmp_path / "c", "J0000", images_of(1)[0], joint)
        (tmp_path / "c" / f"J0000{joint}r.fits").unlink()
        objects = read(written(tmp_path, table_of(1), "t.csv"))
        assert [path.name for path in objects.cutouts[0]] == [f"J0000{joint}{band}.fits" for band in BANDS]

    def test_are_those_that_a_column_names(self, tmp_path):
        objects = read(written(tmp_path, table_of(2, cutout=["a/1.fits", ""]), "t.csv"))
        assert objects.cutouts == [(tmp_path / "a/1.fits",), ()]
        bands = {f"cutout_{band}": [f"{band}.fits"] for band in BANDS}
        objects = read(written(tmp_path, table_of(1, **bands), "t.csv"))
        assert objects.cutouts == [tuple(tmp_path / f"{band}.fits" for band in BANDS)]


class TestFaults:
    def faults(self, tmp_path, **columns):
        count = len(next(iter(columns.values())))
        return dict(read(written(tmp_path, table_of(count, cutout=["x.fits"] * count, **columns), "t.ecsv")).faults())

    def test_name_a_doubled_id_and_where_it_stood_first(self, tmp_path):
        faults = self.faults(tmp_path, object_id=["a", "b", "a"])
        assert faults == {2: "the object id 'a' stands twice, in row 1 too"}

    @pytest.mark.parametrize("value", [-9999.0, 99.0, 9.9999, 0.0, np.nan, np.inf])
    def test_name_the_magnitude_that_is_none(self, tmp_path, value):
        faults = self.faults(tmp_path, mag_g=[20.0, value])
        assert list(faults) == [1]
        assert faults[1].startswith(f"its g magnitude is {value:g}")
        assert faults[1].endswith("object 'J0001'")

    def test_name_the_object_without_a_cutout(self, tmp_path):
        assert self.faults(tmp_path, mag_g=[20.0]) == {}
        objects = read(written(tmp_path, table_of(1), "t.csv"))
        assert dict(objects.faults()) == {0: "there is no cut-out of the object 'J0000'"}


class TestTheTableOfAFolder:
    def test_is_the_only_one_that_is_no_cutout(self, tmp_path):
        write_cube(tmp_path / "J1.fits", images_of(1)[0])
        path = written(tmp_path, table_of(2))
        assert find_table(tmp_path) == path

    def test_has_to_be_named_where_there_are_none_or_several(self, tmp_path):
        with pytest.raises(BadInput, match=r"holds no table .* name one with --table"):
            find_table(tmp_path)
        for name in ("a.csv", "b.fits"):
            written(tmp_path, table_of(2), name)
        with pytest.raises(BadInput, match=r"holds 2 tables \(a.csv, b.fits\)"):
            find_table(tmp_path)


def test_units_in_brackets_behind_names_count(tmp_path):
    fluxes = ",".join(f"flux_{band} [uJy]" for band in "ugriz")
    (tmp_path / "t.csv").write_text(
        f"Object ID,RA [hours],Dec (deg),{fluxes}\n7,10.0,2.0,3.631,36.31,363.1,363.1,3631\n"
    )
    objects = read(tmp_path / "t.csv")
    np.testing.assert_allclose(objects.magnitudes, [[22.5, 20, 17.5, 17.5, 15]], atol=1e-4)
    assert (objects.ids[0], objects.ra[0], objects.dec[0]) == ("7", 150.0, 2.0)
