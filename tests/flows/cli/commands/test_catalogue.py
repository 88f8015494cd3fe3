import json

import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hats.io.validation import is_valid_catalog

from flows.cli import main
from tests.support.finished_run import finished_run, object_table
from tests.support.surveys import SIZES

RUN = "cosmicai-test/results/test"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a finished run in its store."""
    finished_run(tmp_path / ".cosmic/store", unknown=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["z.fits", "z.vot", "z.parquet", "z.ecsv", "z.csv"])
def test_the_suffix_of_the_file_tells_the_format(place, capsys, name):
    assert main(["catalogue", RUN, "--to", name]) == 0
    assert f"{name}: {sum(SIZES)} objects, {sum(SIZES) - 4} with a spectroscopic redshift" in capsys.readouterr().out
    form = {"z.ecsv": "ascii.ecsv", "z.csv": "ascii.csv"}.get(name)
    assert len(Table.read(place / name, format=form)) == sum(SIZES)


def test_without_one_it_is_parquet_and_json_tells_what_was_written(place, capsys):
    assert main(["catalogue", RUN, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == "redshifts.parquet"
    assert facts["provenance"]["model_sha256"] == "ab" * 32
    assert (place / "redshifts.parquet").stat().st_size == facts["bytes"]


def test_a_file_that_is_there_is_kept_unless_asked(place, capsys):
    (place / "redshifts.fits").write_text("mine")
    assert main(["catalogue", RUN, "--format", "fits"]) == 2
    assert "redshifts.fits is there already" in capsys.readouterr().err
    assert (place / "redshifts.fits").read_text() == "mine"
    assert main(["catalogue", RUN, "--format", "fits", "--overwrite"]) == 0
    assert len(Table.read(place / "redshifts.fits", hdu=1)) == sum(SIZES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing"], "RESULT_PATH is written bucket/result_path"),
        (["cosmicai-test/results/other"], "there is no finished run under cosmicai-test/results/other"),
        ([RUN, "--to", "z.txt"], "does not tell the format"),
        ([RUN, "--to", "z.hdf5"], "the run has no p(z), because its model has no calibration"),
        ([RUN, "--format", "qp", "--to", "z.x"], "z.x has a name that qp.read does not take: end it in .hdf5 or"),
        ([RUN, "--format", "qp", "--to", "z.h5"], "the run has no p(z), because its model has no calibration"),
        ([RUN, "--format", "hats"], "a HATS catalogue needs ra and dec"),
        ([RUN, "--format", "rubin"], "the run has no p(z), because its model has no calibration"),
        ([RUN, "--objects", "none.parquet"], "cannot read the table of objects none.parquet"),
    ],
)
def test_wrong_input_is_one_sentence_exit_code_2_and_no_file(place, capsys, words, expected):
    before = set(place.iterdir())
    assert main(["catalogue", *words]) == 2
    assert expected in capsys.readouterr().err
    assert set(place.iterdir()) == before


def test_a_partial_catalogue_says_that_it_is_one(tmp_path, monkeypatch, capsys):
    finished_run(tmp_path / ".cosmic/store", missing=(3,))
    monkeypatch.chdir(tmp_path)
    assert main(["catalogue", RUN]) == 2
    assert main(["catalogue", RUN, "--partial"]) == 0
    assert "WARNING the run is incomplete: 1 rank is missing" in capsys.readouterr().out


def test_a_hats_catalogue_is_a_folder_that_is_never_overwritten(place, capsys):
    store = place / ".cosmic/store"
    pq.write_table(object_table(store), place / "objects.parquet")
    finished_run(store)
    words = ["catalogue", RUN, "--objects", "objects.parquet", "--format", "hats", "--to", "sky"]
    assert main(words) == 0
    assert f"sky: {sum(SIZES)} objects" in capsys.readouterr().out
    assert is_valid_catalog(place / "sky", strict=True)
    assert main([*words, "--overwrite"]) == 2
    assert "sky is there already: choose another folder with --to, or remove it" in capsys.readouterr().err.replace(
        "\n", " "
    )
