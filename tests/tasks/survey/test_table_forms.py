"""Every form of a table that docs/inputs.md lists, written by its own library and compared in numbers."""

import gzip

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from inference.errors import BadInput
from tasks.survey.columns import ColumnOptions
from tasks.survey.object_table import read_objects
from tasks.survey.table_file import read_table_file

N = 4
IDS = [str(1237648720693755918 + 7 * row) for row in range(N)]
MAGNITUDES = np.random.default_rng(0).uniform(15, 22, (N, 5)).round(4)
REDSHIFTS = np.array([0.1, 0.25, np.nan, 0.4])
RA, DEC = np.array([10.5, 20.25, 30.0, 350.0]), np.array([-1.5, 0.0, 2.0, 40.0])


def columns(pattern="{}", ids="objid", redshift="z_spec", unknown=-9999.0, place=("ra", "dec")):
    found = {ids: np.array(list(map(int, IDS)))}
    found |= {pattern.format(band): MAGNITUDES[:, number] for number, band in enumerate("ugriz")}
    found[redshift] = np.where(np.isnan(REDSHIFTS), unknown, REDSHIFTS)
    return found | dict(zip(place, (RA, DEC), strict=True))


def text(head="", delimiter=",", after="", encoding="utf-8", pack=lambda data: data, **names):
    """Text as a site or a tool writes it."""

    def write(path):
        table = columns(**names)
        rows = [delimiter.join(map(str, row)) for row in zip(*table.values(), strict=True)]
        lines = [delimiter.join(table), *([after] if after else []), *rows]
        path.write_bytes(pack((head + "\n".join(lines) + "\n").encode(encoding)))

    return write


def eazy(path):
    table = columns("mag_{}", ids="id")
    rows = [" ".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    path.write_text("\n".join(["# EAZY 0.6", f"# {' '.join(table)}", *rows]))


def vizier(path):
    table = columns("{}mag", ids="SDSS12", redshift="zsp", place=("RA_ICRS", "DE_ICRS"))
    units = ["", *["mag"] * 5, "", "deg", "deg"]
    rows = ["\t".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    head = "#RESOURCE=yCat_5147\n#Name: V/147/sdss12\n\n"
    path.write_text(
        head + "\n".join(["\t".join(table), "\t".join(units), "\t".join(["---"] * len(table)), *rows]) + "\n"
    )


def astropy(form, **names):
    return lambda path: Table(columns(**names)).write(path, format=form)


def hdus(*units):
    return lambda path: fits.HDUList([fits.PrimaryHDU(), *(unit() for unit in units)]).writeto(path)


def table_hdu(name="", **names):
    return lambda: fits.table_to_hdu(Table(columns(**names), meta={"EXTNAME": name}))


def header_hdu():
    column = fits.Column("Field Header Card", "80A", array=["SIMPLE = T"])
    return fits.BinTableHDU.from_columns([column], name="LDAC_IMHEAD")


def image_hdu():
    return fits.ImageHDU(np.zeros((8, 8), np.float32), name="IMAGE")


def topcat(path):
    votable = fits.PrimaryHDU(np.frombuffer(b"<VOTABLE/>", np.uint8), fits.Header({"VOTMETA": True}))
    fits.HDUList([votable, table_hdu("objects.csv")()]).writeto(path)


def vectors(name, length):
    def write(path):
        first = {5: 0, 7: 2}[length]
        values = np.full((N, length), 99.0)
        values[:, first : first + 5] = MAGNITUDES
        kept = {key: column for key, column in columns().items() if key not in set("ugriz")}
        Table(kept | {name: values}).write(path, format="fits")

    return write


def fluxes(name):
    def write(path):
        kept = {key: column for key, column in columns().items() if key not in set("ugriz")}
        Table(kept | {name: 10 ** (-0.4 * (MAGNITUDES - 22.5))}).write(path, format="fits")

    return write


def rail(path):
    with h5py.File(path, "w") as file:
        for name, values in columns("mag_{}_lsst", ids="id", redshift="redshift", unknown=np.nan).items():
            file[f"photometry/{name}"] = values


def records(path):
    with h5py.File(path, "w") as file:
        file["data"] = Table(columns()).as_array()


def parquet(path):
    table = pd.DataFrame(columns("{}_cmodel_mag", ids="object_id", redshift="specz_redshift"))
    table["object_id"] = table["object_id"].astype("Int64")
    table.to_parquet(path)


def hats(path):
    table = pd.DataFrame(columns("{}_psfMag", ids="objectId"))
    for number, part in enumerate((table[:1], table[1:])):
        folder = path / "dataset" / "Norder=0" / "Dir=0"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(part, preserve_index=False), folder / f"Npix={number}.parquet")
    (path / "hats.properties").write_text("obs_collection=mine\n")


def bars_of_psql(path):
    rows = [list(columns()), *map(list, zip(*columns().values(), strict=True))]
    lines = [" | ".join(f" {cell}" for cell in row) for row in rows]
    lines.insert(1, "-+-".join("---" for _ in rows[0]))
    path.write_text("\n".join([*lines, f"({N} rows)", ""]))


def decimal_commas(path):
    text(delimiter=";")(path)
    path.write_text(path.read_text().replace(".", ","))


def sexagesimal(path):
    place = SkyCoord(RA, DEC, unit="deg")
    table = columns() | {"ra": place.ra.to_string("hour", sep=":", precision=9), "dec": place.dec.to_string(sep=":")}
    Table(table).write(path, format="ascii.csv")


def radians(path):
    table = Table(columns(place=("coord_ra", "coord_dec")))
    for name in ("coord_ra", "coord_dec"):
        table[name] = np.radians(table[name]) * units.rad
    table.write(path, format="fits")


def fluxes_of_rubin(path):
    table = columns("{}_cModelFlux", ids="objectId")
    for band in "ugriz":
        table[f"{band}_cModelFlux"] = 10 ** (0.4 * (31.4 - table[f"{band}_cModelFlux"])) * 1.0000036
    pq.write_table(pa.table(table), path)


def records_of_numpy(path):
    with path.open("wb") as file:
        np.save(file, Table(columns()).as_array())


def scaled(path):
    whole = (MAGNITUDES * 1e4).round().astype("i4")
    table = columns() | {name: whole[:, number] for number, name in enumerate("ugriz")}
    hdu = fits.table_to_hdu(Table(table))
    for number, name in enumerate(table, 1):
        if name in "ugriz":
            hdu.header[f"TSCAL{number}"] = 1e-4
    hdu.writeto(path)


def sextractor(path):
    table = columns("MAG_AUTO_{}", ids="NUMBER", place=("ALPHA_J2000", "DELTA_J2000"))
    units = ["", *["[mag]"] * 5, "", "[deg]", "[deg]"]
    names = enumerate(zip(table, units, strict=True), 1)
    head = [f"# {number:3} {name:22} as SExtractor says it  {unit}".rstrip() for number, (name, unit) in names]
    rows = [" ".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    path.write_text("\n".join([*head, *rows, ""]))


def rdb(path):
    text(delimiter="\t", after="\t".join(["20N"] * len(columns())))(path)


def bars_all_around(path):
    rows = [list(columns()), *map(list, zip(*columns().values(), strict=True))]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    rule = "+-----" * len(rows[0]) + "+"
    path.write_text("\n".join([rule, lines[0], rule, *lines[1:], rule, ""]))


FORMS = {
    "FITS with scaled whole numbers": scaled,
    "Feather": lambda path: feather.write_feather(pa.table(columns("mag_{}")), path, compression="zstd"),
    "records of numpy": records_of_numpy,
    "IPAC": astropy("ascii.ipac"),
    "MRT": astropy("ascii.mrt", place=("RAdeg", "DEdeg")),
    "text of SExtractor": sextractor,
    "RDB": rdb,
    "Markdown": astropy("ascii.fixed_width"),
    "text with bars all around, as MySQL prints it": bars_all_around,
    "CSV in UTF-16": text(encoding="utf-16"),
    "CSV with semicolons and decimal commas": decimal_commas,
    "CSV with each band in a case of its own": text(
        pack=lambda data: data.replace(b"u,g", b"Mag_u,MAG_g").replace(b",r,i,z,z_spec", b",mag_r,mag_i,Mag_Z,z_spec")
    ),
    "text of psql": bars_of_psql,
    "CSV": text(),
    "CSV of SkyServer": text(head="#Table1\n"),
    "CSV with a byte-order mark": text(encoding="utf-8-sig"),
    "CSV packed with gzip": text(pack=gzip.compress),
    "CSV of Kaggle": text(ids="obj_ID", redshift="redshift", place=("alpha", "delta")),
    "CSV with semicolons": text(delimiter=";"),
    "CSV with bars": text(delimiter="|"),
    "CSV with windows line ends": text(pack=lambda data: data.replace(b"\n", b"\r\n")),
    "CSV of RAIL": text(pattern="mag_{}_lsst", ids="id", redshift="redshift"),
    "TSV": text(delimiter="\t"),
    "TSV of VizieR": vizier,
    "text with its header in a comment": eazy,
    "FITS": astropy("fits"),
    "FITS in upper case": astropy("fits", pattern="MODELMAG_{}", ids="OBJID", redshift="Z_SPEC", place=("RA", "DEC")),
    "FITS of TOPCAT": topcat,
    "FITS_LDAC": hdus(header_hdu, table_hdu("LDAC_OBJECTS")),
    "FITS with its table behind an image": hdus(image_hdu, table_hdu()),
    "FITS with vectors of SDSS": vectors("MODELMAG", 5),
    "FITS with vectors of seven bands": vectors("MAG", 7),
    "FITS with fluxes of the sweeps": fluxes("MODELFLUX"),
    "VOTable": astropy("votable"),
    "VOTable of VizieR": astropy(
        "votable", pattern="{}mag", ids="SDSS12", redshift="zsp", place=("_RAJ2000", "_DEJ2000")
    ),
    "ECSV": astropy("ascii.ecsv", pattern="dered_{}"),
    "HDF5 of RAIL": rail,
    "HDF5 with records": records,
    "Parquet of HSC": parquet,
    "HATS": hats,
}


@pytest.mark.parametrize("write", [sexagesimal, radians], ids=["sexagesimal", "radians"])
def test_places_in_other_units_become_degrees(tmp_path, write):
    write(tmp_path / "table")
    objects = read_objects(tmp_path / "table", tmp_path, ColumnOptions())
    np.testing.assert_allclose(objects.ra, RA, atol=1e-8)
    np.testing.assert_allclose(objects.dec, DEC, atol=1e-4)


def test_fluxes_without_a_unit_are_in_that_of_their_survey(tmp_path):
    fluxes_of_rubin(tmp_path / "t.parquet")
    objects = read_objects(tmp_path / "t.parquet", tmp_path, ColumnOptions())
    np.testing.assert_allclose(objects.magnitudes, MAGNITUDES, atol=1e-4)
    assert any("taken as nJy where no unit is stated" in note for note in objects.notes)


def test_a_redshift_that_is_called_as_the_last_band_is_not_its_magnitude(tmp_path):
    table = columns()
    table["Z"], table["z"] = table["z"], table.pop("z_spec")
    Table(table).write(tmp_path / "t.fits")
    with pytest.raises(BadInput, match="the column z holds redshifts, not magnitudes: name five columns with --magn"):
        read_objects(tmp_path / "t.fits", tmp_path, ColumnOptions())
    options = ColumnOptions(magnitudes=list("ugriZ"), redshift="z")
    np.testing.assert_array_equal(read_objects(tmp_path / "t.fits", tmp_path, options).magnitudes, MAGNITUDES)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'[{"objid": 1}]', "is JSON, which is not read as a table: save it as CSV or Parquet"),
        (b"PK\x03\x04 [Content_Types].xml", "is an Excel workbook: save the sheet as CSV"),
        (b"<!DOCTYPE html><table>", "is HTML, which is set for people to read: save the table as CSV, VOTable or FITS"),
        (b"\\begin{table}", "is LaTeX, which is set for people to read"),
        (b"===== =====\nobjid u\n===== =====\n", "is reStructuredText, which is set for people to read"),
        (b"\x80\x04K\x01.", "is a pickle, which may run anything and is not read: save its table as CSV"),
        (b"SQLite format 3\0", "is a SQLite database: save its table as CSV or Parquet"),
        (b"1,20,19,18,17,16\n2,20,19,18,17,16\n", "begins with a row of values, '1,20,19,18,17,16': put a line of nam"),
        (b"a title\n\nx y\nobjid u g\n", "its line 4 has 3 cells where 2 are expected; save it as CSV, VOTable or"),
        (b"objid,u,g,r,i,z\n1,20,19,x,17,16\n", "r holds something that is no number, 'x' in row 1"),
    ],
)
def test_what_is_no_table_says_what_it_is(tmp_path, content, why):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadInput, match=why):
        read_objects(tmp_path / "t.csv", tmp_path, ColumnOptions())


def array_without_names(path):
    with path.open("wb") as file:
        np.save(file, MAGNITUDES)


def pickled_array(path):
    with path.open("wb") as file:
        np.save(file, np.array([{}], dtype=object))


def of_pandas(path):
    with h5py.File(path, "w") as file:
        file.create_group("df").attrs["pandas_type"] = np.bytes_("frame")


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (array_without_names, r"is an array of numpy without names, of shape \(4, 5\): save the columns as"),
        (pickled_array, "is a pickle of numpy's, which is not run: save its table as CSV, Parquet or FITS"),
        (of_pandas, "was written by to_hdf of pandas, whose layout is not read: save it with to_parquet"),
    ],
)
def test_tables_of_other_layouts_are_refused_by_name(tmp_path, write, why):
    write(tmp_path / "table")
    with pytest.raises(BadInput, match=why):
        read_objects(tmp_path / "table", tmp_path, ColumnOptions())


def test_records_that_are_cut_short_are_refused(tmp_path):
    records_of_numpy(tmp_path / "t.npy")
    (tmp_path / "t.npy").write_bytes((tmp_path / "t.npy").read_bytes()[:-9])
    with pytest.raises(BadInput, match=r"t\.npy"):
        read_objects(tmp_path / "t.npy", tmp_path, ColumnOptions())


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read_as_the_same_objects(tmp_path, form):
    FORMS[form](tmp_path / "table")
    objects = read_objects(tmp_path / "table", tmp_path, ColumnOptions())
    assert objects.ids.tolist() == IDS
    np.testing.assert_allclose(objects.magnitudes, MAGNITUDES, rtol=1e-12)
    np.testing.assert_array_equal(objects.redshifts, REDSHIFTS)
    np.testing.assert_array_equal(objects.ra, RA)
    np.testing.assert_array_equal(objects.dec, DEC)


class TestIds:
    def ids(self, path, **options):
        return read_objects(path, path.parent, ColumnOptions(**options)).ids.tolist()

    def test_of_text_stay_as_they_are_written(self, tmp_path):
        rows = [f"{name},20,19,18,17,16" for name in ("007", "120e05", "1237648720693755918", "J1-2", "1.50")]
        (tmp_path / "t.csv").write_text("\n".join(["objid,u,g,r,i,z", *rows]))
        assert self.ids(tmp_path / "t.csv") == ["007", "120e05", "1237648720693755918", "J1-2", "1.50"]

    @pytest.mark.parametrize("dtype", [np.int64, np.uint64])
    def test_of_long_integers_keep_every_digit(self, tmp_path, dtype):
        table = columns()
        table["objid"] = np.array([2**63 - 1 - row for row in range(N)], dtype)
        Table(table).write(tmp_path / "t.fits")
        assert self.ids(tmp_path / "t.fits") == [str(2**63 - 1 - row) for row in range(N)]

    def test_of_integers_of_which_some_are_missing_keep_every_digit(self, tmp_path):
        table = pa.table(columns() | {"objid": pa.array([int(IDS[0]), None, int(IDS[2]), int(IDS[3])], pa.int64())})
        pq.write_table(table, tmp_path / "t.parquet")
        assert self.ids(tmp_path / "t.parquet") == [IDS[0], "", IDS[2], IDS[3]]

    @pytest.mark.parametrize("name", ["1.23764872069375e+18", "1.23764872069375E18", "1237648720693755918.0"])
    def test_of_text_that_was_rounded_are_refused(self, tmp_path, name):
        (tmp_path / "t.csv").write_text(f"objid,u,g,r,i,z\n{name},20,19,18,17,16")
        with pytest.raises(BadInput, match=r"objid has 1 object ids such as '1\.?23.*', which a spreadsheet rounded"):
            self.ids(tmp_path / "t.csv")

    @pytest.mark.parametrize(("dtype", "limit"), [(np.float64, "9,007,199,254,740,992"), (np.float32, "16,777,216")])
    def test_of_floating_point_that_lost_digits_are_refused(self, tmp_path, dtype, limit):
        Table(columns() | {"objid": np.array(list(map(int, IDS)), dtype)}).write(tmp_path / "t.fits")
        with pytest.raises(BadInput, match=rf"objid has 4 object ids as floating-point numbers of {limit} or more"):
            self.ids(tmp_path / "t.fits")
        Table(columns() | {"objid": np.arange(N, dtype=dtype)}).write(tmp_path / "small.fits")
        assert self.ids(tmp_path / "small.fits") == ["0", "1", "2", "3"]


class TestWhichTable:
    def test_of_several_is_named_and_chosen(self, tmp_path):
        path = tmp_path / "t.fits"
        hdus(table_hdu("ONE"), table_hdu("TWO", pattern="dered_{}"))(path)
        with pytest.raises(BadInput, match=r"holds 2 tables \(1 ONE, 2 TWO\): choose one with --hdu"):
            read_objects(path, tmp_path, ColumnOptions())
        for part in ("2", "two"):
            assert read_objects(path, tmp_path, ColumnOptions(hdu=part)).columns["u magnitude"] == "dered_u"
        with pytest.raises(BadInput, match=r"has no table HDU '3' \(--hdu\); it has 1 ONE, 2 TWO"):
            read_objects(path, tmp_path, ColumnOptions(hdu="3"))

    def test_of_hdf5_is_named_and_chosen(self, tmp_path):
        with h5py.File(tmp_path / "t.h5", "w") as file:
            for name, values in columns().items():
                file[f"a/{name}"] = file[f"b/{name}"] = values
        with pytest.raises(BadInput, match=r"holds 2 tables \(a, b\): choose one with --hdu"):
            read_objects(tmp_path / "t.h5", tmp_path, ColumnOptions())
        assert read_objects(tmp_path / "t.h5", tmp_path, ColumnOptions(hdu="/b")).ids.tolist() == IDS


def test_a_header_in_a_comment_is_found_where_ids_are_words(tmp_path):
    (tmp_path / "t.dat").write_text(
        "# from my code\n#name u g r i z z_spec\nJ1 20 19 18 17 16 0.1\nJ2 20 19 18 17 16 0.2\n"
    )
    objects = read_objects(tmp_path / "t.dat", tmp_path, ColumnOptions())
    assert objects.ids.tolist() == ["J1", "J2"]
    assert objects.redshifts.tolist() == [0.1, 0.2]


def test_rows_of_more_cells_than_the_header_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("objid,u,g,r,i,z\n1,20,19,18,17,16,15\n")
    with pytest.raises(BadInput, match="has rows of more cells than its header, which names 6"):
        read_objects(tmp_path / "t.csv", tmp_path, ColumnOptions())


@pytest.mark.parametrize("unit", ["mag", "mags", "ABmag", "mag(AB)"])
def test_units_of_magnitudes_are_known_in_the_spellings_of_catalogues(tmp_path, unit):
    table = Table(columns())
    table["u"].unit = unit
    table.write(tmp_path / "t.fits")
    assert len(read_objects(tmp_path / "t.fits", tmp_path, ColumnOptions())) == N


def test_files_of_one_object_in_two_folders_are_a_choice(tmp_path):
    FORMS["CSV"](tmp_path / "t.csv")
    for folder in ("images", "psf", "more"):
        (tmp_path / folder).mkdir()
    for folder in ("images", "psf"):
        (tmp_path / folder / f"{IDS[0]}.fits").write_bytes(b"")
    objects = read_objects(tmp_path / "t.csv", tmp_path, ColumnOptions())
    assert objects.cutouts[0] == (tmp_path / "images" / f"{IDS[0]}.fits",)
    (tmp_path / "more" / f"{IDS[0]}.fits").write_bytes(b"")
    with pytest.raises(BadInput, match=r"several files of the object .*images/.* and more/.*: name the folder"):
        read_objects(tmp_path / "t.csv", tmp_path, ColumnOptions())


@pytest.mark.parametrize(
    "form",
    [
        "{name}_{band}.fits",
        "{name}-{BAND}.FITS",
        "{band}_{name}.fits.gz",
        "{band}/{name}.fits",
        "sdss_{band}/{name}.fts",
    ],
)
def test_files_of_bands_are_found_however_they_are_called(tmp_path, form):
    FORMS["CSV"](tmp_path / "t.csv")
    for name in IDS[:2]:
        for band in "zirgu":
            path = tmp_path / "images" / form.format(name=name, band=band, BAND=band.upper())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    objects = read_objects(tmp_path / "t.csv", tmp_path / "images", ColumnOptions())
    wanted = [form.format(name=IDS[0], band=band, BAND=band.upper()) for band in "ugriz"]
    assert objects.cutouts[0] == tuple(tmp_path / "images" / name for name in wanted)
    assert objects.cutouts[2] == ()


@pytest.mark.parametrize("write", [pq.write_table, feather.write_feather], ids=["Parquet", "Feather"])
def test_texts_that_unfold_to_all_memory_are_refused(write, tmp_path):
    """A text of a megabyte stands once in the file, and in each of a thousand rows."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int8)), pa.array(["y" * 1_000_000]))
    write(pa.table({"object_id": texts}), tmp_path / "bomb")
    with pytest.raises(BadInput, match=r"bomb as a table: the texts of its column 'object_id' unfold to 1,000 MB"):
        read_table_file(tmp_path / "bomb")


def test_texts_that_repeat_are_read_as_they_are(tmp_path):
    kinds = pa.array(["STAR", "GALAXY"] * 500).dictionary_encode()
    pq.write_table(pa.table({"kind": kinds, "plain": kinds.cast(pa.string())}), tmp_path / "kinds.parquet")
    frame = read_table_file(tmp_path / "kinds.parquet").frame
    assert frame["kind"].tolist() == frame["plain"].tolist() == ["STAR", "GALAXY"] * 500


def test_line_end_in_a_columns_name_leaves_the_message_one_line(tmp_path):
    pq.write_table(pa.table({"object\nid": ["a"], "flux": [1.0]}), tmp_path / "t.parquet")
    with pytest.raises(BadInput, match=r"it has object\\nid, flux") as caught:
        read_objects(tmp_path / "t.parquet", tmp_path, ColumnOptions())
    assert "\n" not in str(caught.value)
