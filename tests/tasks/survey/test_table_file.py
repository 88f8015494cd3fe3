import bz2
import gzip
import lzma

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.survey import table_file, table_width
from tasks.survey.table_file import numbers, read_table_file

COLUMNS = {"object_id": ["a", "b"], "z_pred": [0.1, 0.2], "z_spec": [0.11, np.nan]}
FORMS = {"t.fits": "fits", "t.vot": "votable", "t.ecsv": "ascii.ecsv", "t.csv": "ascii.csv", "t.parquet": None}


def write(path, columns=COLUMNS):
    if FORMS[path.name] is None:
        pq.write_table(pa.table(columns), path)
    else:
        Table(columns).write(path, format=FORMS[path.name])
    return path


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("renamed", [False, True], ids=["as named", "under another suffix"])
def test_every_form_is_recognised_by_its_content(tmp_path, name, renamed):
    path = write(tmp_path / name)
    if renamed:
        path = path.rename(tmp_path / "table.dat")
    table = read_table_file(path).frame
    assert list(table) == list(COLUMNS)
    ids = [value.decode() if isinstance(value, bytes) else value for value in table["object_id"]]
    assert ids == ["a", "b"]
    np.testing.assert_array_equal(numbers(table["z_spec"]), COLUMNS["z_spec"])


def test_an_index_of_pandas_is_a_column_like_others(tmp_path):
    pd.DataFrame(COLUMNS).set_index("object_id").to_parquet(tmp_path / "t.parquet")
    assert set(read_table_file(tmp_path / "t.parquet").frame) == set(COLUMNS)


@pytest.mark.parametrize("name", ["t.fits", "t.ecsv"])
def test_columns_of_a_few_values_a_row_become_columns(tmp_path, name):
    flux, image = np.arange(10.0).reshape(2, 5), np.zeros((2, 4, 4))
    table = read_table_file(
        write(tmp_path / name, COLUMNS | {"flux": flux, "pdf": np.zeros((2, 200)), "x": image})
    ).frame
    assert set(table) == {*COLUMNS, *(f"flux[{place}]" for place in range(5))}
    np.testing.assert_array_equal(table["flux[3]"], [3.0, 8.0])


def test_lists_of_fixed_length_in_parquet_become_columns(tmp_path):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(10.0)), 5)
    pq.write_table(pa.table(COLUMNS | {"flux": lists, "any": [[1.0], [1.0, 2.0]]}), tmp_path / "t.parquet")
    table = read_table_file(tmp_path / "t.parquet").frame
    assert set(table) == {*COLUMNS, *(f"flux[{place}]" for place in range(5))}
    np.testing.assert_array_equal(table["flux[3]"], [3.0, 8.0])


def test_whole_numbers_stay_whole_where_some_are_missing(tmp_path):
    number = 2**60 + 1
    pq.write_table(pa.table({"objid": pa.array([number, None], pa.int64())}), tmp_path / "t.parquet")
    assert read_table_file(tmp_path / "t.parquet").frame["objid"][0] == number


VOTABLE = (
    '<?xml version="1.0"?>{entities}<VOTABLE version="1.4"><RESOURCE><TABLE><FIELD name="z_pred" datatype="double"/>'
    "<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
)
ENTITIES = '<!DOCTYPE v [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE v [<!ENTITY b SYSTEM "file://{place}">]>'
CELL = "<TABLEDATA><TR><TD>&b;</TD></TR></TABLEDATA>"


class TestAVOTable:
    @pytest.mark.parametrize("kind", ["BINARY", "BINARY2", "FITS"])
    @pytest.mark.parametrize("attribute", ["href", "xlink:href"])
    def test_that_refers_to_data_elsewhere_is_refused_and_nothing_is_fetched(self, tmp_path, kind, attribute):
        (tmp_path / "secret").write_bytes(np.array([0.5], ">f8").tobytes())
        stream = f'<{kind}><STREAM {attribute}="file://{tmp_path}/secret"/></{kind}>'
        (tmp_path / "t.vot").write_text(VOTABLE.format(entities="", data=stream))
        with pytest.raises(BadInput, match=r"t.vot refers to data elsewhere \(STREAM href\), which is not fetched"):
            read_table_file(tmp_path / "t.vot")

    @pytest.mark.parametrize("entities", [ENTITIES, OUTSIDE], ids=["inside", "of another file"])
    def test_that_declares_entities_is_refused(self, tmp_path, entities):
        text = VOTABLE.format(entities=entities.replace("{place}", str(tmp_path / "secret")), data=CELL)
        (tmp_path / "t.vot").write_text(text)
        with pytest.raises(BadInput, match=r"t.vot declares entities, which no VOTable needs"):
            read_table_file(tmp_path / "t.vot")

    def test_nested_without_end_is_refused(self, tmp_path):
        (tmp_path / "t.vot").write_text('<?xml version="1.0"?><VOTABLE>' + "<RESOURCE>" * 50_000)
        with pytest.raises(BadInput, match=r"cannot read .*t.vot as a table"):
            read_table_file(tmp_path / "t.vot")


@pytest.mark.parametrize(("pack", "kind"), [(bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_a_packed_table_is_refused_unless_it_is_gzip(tmp_path, pack, kind):
    (tmp_path / "t.csv").write_bytes(pack(b"z_pred,z_spec\n" + b"0.1,0.1\n" * 1000))
    with pytest.raises(BadInput, match=rf"t.csv is packed with {kind}: unpack it first"):
        read_table_file(tmp_path / "t.csv")


@pytest.mark.parametrize("name", FORMS)
def test_a_table_packed_with_gzip_is_read(tmp_path, name):
    path = write(tmp_path / name)
    plain = read_table_file(path).frame
    path.write_bytes(gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(read_table_file(path).frame, plain)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "_MOST_UNPACKED", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"z_pred\n" + b"0.1\n" * 10_000))
    with pytest.raises(BadInput, match=r"t.csv.gz unpacks to more than 1,000 bytes"):
        read_table_file(tmp_path / "t.csv.gz")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("columns", [8_000, 200_000])
def test_thousands_of_columns_are_read_or_refused_at_once(tmp_path, columns):
    (tmp_path / "t.csv").write_text("\n".join([",".join(f"c{n}" for n in range(columns)), ",".join("1" * columns)]))
    if columns < table_file.MOST_COLUMNS:
        assert read_table_file(tmp_path / "t.csv").frame.shape == (1, columns)
    else:
        with pytest.raises(BadInput, match=r"has [0-9,]+ columns; 10,000 is the limit"):
            read_table_file(tmp_path / "t.csv")


def test_more_rows_than_any_survey_has_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(table_width, "_MOST_ROWS", 1)
    with pytest.raises(BadInput, match=r"t.parquet has 2 rows; 1 is the limit"):
        read_table_file(write(tmp_path / "t.parquet"))


def test_two_columns_of_one_name_are_refused(tmp_path):
    twins = pa.Table.from_arrays([pa.array([0.1]), pa.array([0.2])], names=["z_pred", "z_pred"])
    pq.write_table(twins, tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="has two columns called 'z_pred'"):
        read_table_file(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_table_that_is_cut_short_is_read_in_part_or_refused(tmp_path, name, share):
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    try:
        read_table_file(path)
    except BadInput as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


def test_a_fits_table_without_its_rows_is_called_cut_short(tmp_path):
    path = write(tmp_path / "t.fits", {"z_pred": np.zeros(2000)})
    path.write_bytes(path.read_bytes()[:-8640])
    with pytest.raises(BadInput, match="it is cut short"):
        read_table_file(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.table"
    path.write_bytes(data)
    try:
        read_table_file(path)
    except BadInput as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "values",
    [
        [True, False],
        ["a", "b"],
        [[1.0], [2.0]],
        [{"a": 1}] * 2,
        pd.to_datetime(["2020", "2021"]),
        pd.to_timedelta([1, 2], "s"),
        [1j, 2j],
    ],
    ids=["truth", "text", "lists", "structures", "dates", "durations", "complex"],
)
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match="no numbers"):
        numbers(pd.Series(values))


@pytest.mark.parametrize("values", [["1.5", "2"], [1.5, 2], pd.array([1.5, 2], "Float32"), pd.array(["1.5", "2"])])
def test_numbers_in_any_dress_are_numbers(values):
    assert numbers(pd.Series(values)).tolist() == [1.5, 2.0]


def test_masked_values_are_nan():
    np.testing.assert_array_equal(numbers(pd.Series(pd.array([1, None], "Int64"))), [1.0, np.nan])
