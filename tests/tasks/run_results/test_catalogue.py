import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits, votable
from astropy.table import Table

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.photoz.calibration import BOUNDS
from tasks.run_results.catalogue import read_catalogue
from tasks.run_results.catalogue_fields import FIELDS
from tasks.run_results.catalogue_formats import FORMATS, catalogue_bytes, csv_header
from tests.support.finished_run import BUCKET, PATH, finished_run, object_table
from tests.support.surveys import SIZES


def read(root, objects=None, **options):
    if objects is not None:
        (root / "given.parquet").write_bytes(objects)
        options["objects"] = root / "given.parquet"
    return read_catalogue(Store(root), BUCKET, PATH, **options)


def as_bytes(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


class TestTheRows:
    def test_objects_come_once_with_partition_and_row_as_the_id(self, tmp_path):
        finished_run(tmp_path, repeat=True)
        rows = read(tmp_path).rows
        assert len(rows) == sum(SIZES)
        assert rows["object_id"].is_unique
        assert rows["object_id"].iloc[41] == "survey/2.pt:1"
        assert (rows["partition"].iloc[41], rows["row"].iloc[41]) == ("survey/2.pt", 1)

    def test_say_how_far_redshifts_are_apart_and_which_are_outliers(self, tmp_path):
        found = finished_run(tmp_path, scatter=0.2)
        rows = read(tmp_path).rows
        delta = (found["z_pred"].astype(float) - found["z_spec"]) / (1 + found["z_spec"])
        assert rows["delta"].to_numpy() == pytest.approx(delta.to_numpy())
        assert rows["outlier"].to_numpy(bool).tolist() == (delta.abs() > 0.15).tolist()
        assert 0 < rows["outlier"].sum() < len(rows)

    def test_without_a_spectroscopic_redshift_have_neither(self, tmp_path):
        finished_run(tmp_path, unknown=3)
        rows = read(tmp_path).rows
        assert rows["outlier"].isna().sum() == rows["delta"].isna().sum() == rows["z_spec"].isna().sum() == 12

    def test_have_the_names_and_places_that_an_ingest_noted(self, tmp_path):
        finished_run(tmp_path)
        pq.write_table(object_table(tmp_path), tmp_path / BUCKET / "survey.objects.parquet")
        rows = read(tmp_path).rows
        assert rows["object_id"].iloc[41] == "J0020001"
        assert (rows["ra"].iloc[41], rows["dec"].iloc[41]) == (11.0, -1.5)

    def test_take_the_names_of_a_table_that_is_given_instead(self, tmp_path):
        finished_run(tmp_path)
        given = object_table(tmp_path, ids=lambda file, index: f"mine {file} {index}", sky=False)
        rows = read(tmp_path, objects=as_bytes(given)).rows
        assert rows["object_id"].iloc[0] == "mine 1.pt 0"
        assert "ra" not in rows

    def test_take_columns_of_that_table_by_the_names_that_are_given(self, tmp_path):
        finished_run(tmp_path)
        table = object_table(tmp_path)
        swapped = {"object_id": "MY_ID", "ra": "dec", "dec": "ra"}
        given = as_bytes(table.append_column("MY_ID", pa.array([f"mine {row}" for row in range(len(table))])))
        usual, rows = (read(tmp_path, objects=given, columns=names).rows for names in ({}, swapped))
        assert rows["object_id"].iloc[0] == "mine 0"
        assert (rows["ra"].iloc[41], rows["dec"].iloc[41]) == (usual["dec"].iloc[41], usual["ra"].iloc[41])


class TestTheProvenance:
    def test_names_model_data_and_version(self, tmp_path):
        finished_run(tmp_path)
        catalogue = read(tmp_path)
        facts = catalogue.provenance
        assert facts["model_sha256"] == "ab" * 32
        assert facts["data"] == "cosmicai-test/survey"
        assert facts["creator"].startswith("cosmic-flows ")
        assert catalogue.partitions["rows"].tolist() == list(SIZES)
        assert catalogue.partitions["etag"].tolist() == [s.etag for s in Store(tmp_path).list(BUCKET, "survey")]

    def test_changes_with_a_partition(self, tmp_path):
        finished_run(tmp_path)
        before = read(tmp_path).provenance["data_etag"]
        payload = tmp_path / BUCKET / PATH / "payload.json"
        payload.write_text(payload.read_text().replace(Store(tmp_path).list(BUCKET, "survey")[2].etag, "another"))
        assert read(tmp_path).provenance["data_etag"] != before


class TestIsRefused:
    def test_a_run_that_is_not_there(self, tmp_path):
        with pytest.raises(BadInput, match="there is no finished run under cosmicai-test/results/test"):
            read(tmp_path)

    def test_an_incomplete_run_unless_asked_for(self, tmp_path):
        finished_run(tmp_path, missing=(1, 2))
        with pytest.raises(BadInput, match="ranks 1-2 of 4 missing"):
            read(tmp_path)
        catalogue = read(tmp_path, partial=True)
        assert len(catalogue.rows) == SIZES[0] + SIZES[3]
        assert catalogue.provenance["missing_ranks"] == 2

    def test_an_id_that_stands_twice(self, tmp_path):
        finished_run(tmp_path)
        ids = as_bytes(object_table(tmp_path, ids=lambda file, index: f"J{index}"))
        with pytest.raises(BadInput, match=r"the object id 'J0' stands twice, row 0 of survey/1.pt and row 0 of"):
            read(tmp_path, objects=ids)

    def test_a_table_of_other_partitions(self, tmp_path):
        finished_run(tmp_path)
        table = object_table(tmp_path)
        z_spec = table["z_spec"].to_numpy().copy()
        z_spec[7] += 1e-9
        other = table.set_column(table.column_names.index("z_spec"), "z_spec", pa.array(z_spec))
        with pytest.raises(BadInput, match=r"other partitions: .* row 7 of survey/1.pt"):
            read(tmp_path, objects=as_bytes(other))

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"object_id": "OBJID"}, "--objects has no column 'OBJID'; its columns are 'file, index"),
            ({"ra": "dec", "dec": "dec"}, "one column of --objects is named for two of ra, dec"),
        ],
    )
    def test_a_column_that_is_not_there_or_named_twice(self, tmp_path, columns, expected):
        finished_run(tmp_path)
        with pytest.raises(BadInput, match=expected):
            read(tmp_path, objects=as_bytes(object_table(tmp_path)), columns=columns)

    def test_names_of_columns_without_a_table_of_objects(self, tmp_path):
        finished_run(tmp_path)
        with pytest.raises(BadInput, match="so that its columns cannot be named: give --objects, too"):
            read(tmp_path, columns={"object_id": "OBJID"})

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda table: table.slice(1), "does not list row 0 of survey/1.pt"),
            (lambda table: table.drop(["object_id"]), "lacks the column object_id"),
            (lambda table: pa.concat_tables([table, table.slice(5, 1)]), "names two objects for row 5 of 1.pt"),
            (lambda table: table.set_column(1, "index", pa.array(["x"] * len(table))), "column of another type"),
            (lambda table: table.set_column(2, "object_id", pa.nulls(len(table), pa.string())), "is missing"),
        ],
    )
    def test_a_damaged_table_of_objects(self, tmp_path, change, expected):
        finished_run(tmp_path)
        with pytest.raises(BadInput, match=expected):
            read(tmp_path, objects=as_bytes(change(object_table(tmp_path))))

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", "is not a Parquet table: write it as one"),
            (b"\0" * 100, "is not a Parquet table: write it as one"),
            (b"PAR1 or not", "is a damaged Parquet table"),
        ],
    )
    def test_redshifts_or_objects_in_a_file_that_is_no_table(self, tmp_path, data, expected):
        finished_run(tmp_path)
        with pytest.raises(BadInput, match=f"--objects {expected}"):
            read(tmp_path, objects=data)
        (tmp_path / BUCKET / PATH / "predictions.parquet").write_bytes(data)
        with pytest.raises(BadInput, match=f"predictions.parquet {expected}"):
            read(tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"missing_ranks": null}', '{"missing_ranks": [], "request": 3}'])
    def test_a_summary_that_is_damaged(self, tmp_path, text):
        finished_run(tmp_path)
        (tmp_path / BUCKET / PATH / "summary.json").write_text(text)
        with pytest.raises(BadInput, match=r"damaged|does not say|is not JSON"):
            read(tmp_path)

    def test_a_table_that_is_none_of_redshifts(self, tmp_path):
        finished_run(tmp_path)
        pd.DataFrame({"a": [1]}).to_parquet(tmp_path / BUCKET / PATH / "predictions.parquet")
        with pytest.raises(BadInput, match="is not a table of redshifts"):
            read(tmp_path)


@pytest.fixture
def catalogue(tmp_path):
    finished_run(tmp_path, unknown=2)
    pq.write_table(object_table(tmp_path), tmp_path / BUCKET / "survey.objects.parquet")
    # The first two of each partition are unknown to the run; the table of objects says so, too.
    table = object_table(tmp_path)
    z_spec = table["z_spec"].to_numpy().copy()
    z_spec[table["index"].to_numpy() < 2] = np.nan
    table = table.set_column(table.column_names.index("z_spec"), "z_spec", pa.array(z_spec))
    return read(tmp_path, objects=as_bytes(table))


class TestEveryFormat:
    @pytest.mark.parametrize("form", FORMATS)
    def test_gives_the_same_bytes_for_the_same_run(self, catalogue, form):
        assert catalogue_bytes(catalogue, form) == catalogue_bytes(catalogue, form)

    def test_parquet_keeps_rows_units_ucds_and_provenance(self, catalogue):
        table = pq.read_table(io.BytesIO(catalogue_bytes(catalogue, "parquet")))
        pd.testing.assert_frame_equal(
            table.to_pandas(), catalogue.rows.astype({"outlier": object}).replace({pd.NA: None}), check_dtype=False
        )
        assert table.schema.field("ra").metadata[b"unit"] == b"deg"
        assert table.schema.field("z_pred").metadata[b"ucd"] == b"src.redshift.phot;meta.main"
        facts = json.loads(table.schema.metadata[b"cosmic"])
        assert facts["model_sha256"] == "ab" * 32
        assert [part["rows"] for part in facts["partitions"]] == list(SIZES)

    def test_fits_has_topcats_conventions_and_is_valid(self, catalogue):
        data = catalogue_bytes(catalogue, "fits")
        with fits.open(io.BytesIO(data)) as file:
            file.verify("exception")
            assert [hdu.name for hdu in file] == ["PRIMARY", "REDSHIFTS", "PARTITIONS"]
            header = file["REDSHIFTS"].header
            names = [header[f"TTYPE{n}"] for n in range(1, header["TFIELDS"] + 1)]
            assert names == [name for name in FIELDS if name not in BOUNDS]
            assert [header[f"TUCD{n}"] for n in range(1, len(names) + 1)] == [FIELDS[name].ucd for name in names]
            assert header["TUNIT2"] == header["TUNIT3"] == "deg"
            assert header["MODELSHA"] == "ab" * 32
            assert header["DATE"] == "2026-11-24T10:00:00"
            assert file["PARTITIONS"].data["rows"].tolist() == list(SIZES)
        self.same(Table.read(io.BytesIO(data), hdu=1), catalogue)

    def test_votable_validates_and_has_its_params(self, catalogue, recwarn):
        data = catalogue_bytes(catalogue, "votable")
        file = votable.parse(io.BytesIO(data), verify="exception")
        self.same(file.get_first_table().to_table(), catalogue)
        params = {param.name: param.value for param in file.resources[0].params}
        assert params["model_sha256"] == "ab" * 32
        assert params["missing_ranks"] == 0
        assert [part["rows"] for part in json.loads(params["partitions"])] == list(SIZES)
        assert not recwarn.list

    def test_csv_is_read_by_plain_pandas_and_its_header_explains_it(self, catalogue):
        data = catalogue_bytes(catalogue, "csv")
        rows = pd.read_csv(io.BytesIO(data))
        assert list(rows.columns) == list(catalogue.rows.columns)
        assert rows["object_id"].tolist() == catalogue.rows["object_id"].tolist()
        for name in ("z_pred", "z_spec", "delta", "mag_r"):
            np.testing.assert_allclose(rows[name], catalogue.rows[name].astype(float), rtol=1e-6)
        assert rows["outlier"].isna().tolist() == catalogue.rows["outlier"].isna().tolist()
        header = json.loads(csv_header(catalogue))
        assert list(header["columns"]) == list(rows.columns)
        assert header["provenance"]["model_sha256"] == "ab" * 32
        assert [part["rows"] for part in header["partitions"]] == list(SIZES)

    def test_ecsv_is_read_by_astropy_with_its_header_and_by_pandas_without(self, catalogue):
        text = catalogue_bytes(catalogue, "ecsv").decode()
        table = Table.read(text, format="ascii.ecsv")
        self.same(table, catalogue)
        assert table.meta["model_sha256"] == "ab" * 32
        assert str(table["ra"].unit) == "deg"
        rows = pd.read_csv(io.StringIO(text), comment="#")
        assert rows["z_pred"].to_numpy() == pytest.approx(catalogue.rows["z_pred"].to_numpy())

    def same(self, table, catalogue):
        rows = catalogue.rows
        assert [str(text) for text in table["object_id"]] == rows["object_id"].tolist()
        assert np.asarray(table["z_pred"], np.float32).tolist() == rows["z_pred"].tolist()
        for name in ("ra", "z_spec", "delta"):
            values = np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan)
            np.testing.assert_array_equal(values, rows[name].to_numpy(float))
        unknown = np.ma.getmaskarray(np.ma.asarray(table["outlier"]))
        assert unknown.tolist() == rows["outlier"].isna().tolist()
        assert np.asarray(table["outlier"])[~unknown].tolist() == rows["outlier"].dropna().astype(int).tolist()


def test_text_that_fits_cannot_hold_is_refused_and_others_hold_it(tmp_path):
    finished_run(tmp_path)
    ids = as_bytes(object_table(tmp_path, ids=lambda file, index: f"Ångström {file} {index}"))
    catalogue = read(tmp_path, objects=ids)
    with pytest.raises(BadInput, match=r"FITS holds ASCII only, and one of object_id is "):
        catalogue_bytes(catalogue, "fits")
    assert "Ångström" in catalogue_bytes(catalogue, "csv").decode()
    table = votable.parse(io.BytesIO(catalogue_bytes(catalogue, "votable"))).get_first_table().to_table()
    assert table["object_id"][0] == "Ångström 1.pt 0"


@pytest.mark.parametrize("form", ["# {}", "#{}", "007{}", "{}e5", 'a, "{}"', "1_{}", "NaN{}", "Ünï {}"])
@pytest.mark.parametrize("kind", ["ecsv", "csv", "votable", "parquet"])
def test_ids_of_every_sort_are_read_back_letter_for_letter(tmp_path, form, kind):
    finished_run(tmp_path)
    data = catalogue_bytes(read(tmp_path, objects=as_bytes(object_table(tmp_path, ids=ids_like(form)))), kind)
    if kind == "csv":
        ids = pd.read_csv(io.BytesIO(data), dtype={"object_id": str})["object_id"]
    elif kind == "parquet":
        ids = pq.read_table(io.BytesIO(data))["object_id"].to_pylist()
    elif kind == "ecsv":
        ids = Table.read(data.decode(), format="ascii.ecsv")["object_id"]
    else:
        ids = votable.parse(io.BytesIO(data)).get_first_table().to_table()["object_id"]
    wanted = ids_like(form)
    expected = [wanted(f"{number}.pt", row) for number, size in enumerate(SIZES, 1) for row in range(size)]
    assert [str(text) for text in ids] == expected


@pytest.mark.parametrize(("form", "kind"), [("{} ", "fits"), (" {}", "ecsv"), ("{} ", "ecsv"), ("{}\t", "ecsv")])
def test_ids_that_would_lose_blanks_at_their_ends_are_refused(tmp_path, form, kind):
    finished_run(tmp_path)
    catalogue = read(tmp_path, objects=as_bytes(object_table(tmp_path, ids=ids_like(form))))
    with pytest.raises(BadInput, match=r"loses blanks at the end of a text, and one of object_id is .*: choose"):
        catalogue_bytes(catalogue, kind)
    for other in ("parquet", "csv"):
        assert form.format("10").encode() in catalogue_bytes(catalogue, other)


def ids_like(form):
    return lambda file, index: form.format(f"{file[0]}{index}")


def test_characters_that_a_votable_cannot_hold_are_refused(tmp_path):
    finished_run(tmp_path)
    catalogue = read(tmp_path, objects=as_bytes(object_table(tmp_path, ids=ids_like("\N{MILKY WAY}{}"))))
    with pytest.raises(BadInput, match="VOTable holds characters of 16 bits, and one of object_id is"):
        catalogue_bytes(catalogue, "votable")
    assert "\N{MILKY WAY}" in catalogue_bytes(catalogue, "ecsv").decode()


def test_catalogue_as_csv_has_no_id_that_a_spreadsheet_takes_for_a_formula(tmp_path):
    finished_run(tmp_path)
    ids = as_bytes(object_table(tmp_path, ids=lambda file, index: f"=HYPERLINK({file},{index})"))
    catalogue = read(tmp_path, objects=ids)
    ecsv = Table.read(catalogue_bytes(catalogue, "ecsv").decode(), format="ascii.ecsv")
    csv = pd.read_csv(io.BytesIO(catalogue_bytes(catalogue, "csv")))
    for table in (ecsv, csv):
        assert all(text.startswith("'=HYPERLINK(") for text in table["object_id"])
    parquet = pd.read_parquet(io.BytesIO(catalogue_bytes(catalogue, "parquet")))
    assert all(text.startswith("=HYPERLINK(") for text in parquet["object_id"]), "only CSV is opened by spreadsheets"


def test_there_is_no_other_format(tmp_path):
    finished_run(tmp_path)
    with pytest.raises(BadInput, match="one of parquet, fits, votable, ecsv, csv, not 'excel'"):
        catalogue_bytes(read(tmp_path), "excel")
