import json

import numpy as np
import pytest

from flows.cli import main
from inference.partitions.partition import open_partition
from tests.support.fits_survey import images_of, write_cube, write_survey
from tests.support.surveys import snapshot


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder with 7 cut-outs and their table."""
    monkeypatch.chdir(tmp_path)
    write_survey(tmp_path / "raw", 7)
    return tmp_path / "raw"


def test_a_folder_of_cutouts_becomes_partitions(raw, capsys):
    assert main(["ingest", "raw", "--to", "parts", "--samples", "3", "--workers", "2"]) == 0
    output = capsys.readouterr()
    assert "parts: 7 objects in 3 partitions" in output.out
    assert "u magnitude from mag_u" in output.err
    assert [len(open_partition(raw.parent / "parts" / f"{n}.pt", "")) for n in (1, 2, 3)] == [3, 3, 1]


def test_a_table_finds_the_cutouts_of_its_folder_and_json_tells_all(raw, capsys):
    assert main(["ingest", "raw/objects.fits", "--to", "parts", "--format", "safetensors", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["partitions"], facts["objects"], facts["skipped"]) == (1, 7, [])
    assert facts["columns"]["redshift"] == "z_spec"


def test_bad_rows_stop_it_and_are_skipped_and_named_when_asked(raw, capsys):
    image = images_of(1)[0]
    image[0] = np.nan
    write_cube(raw / "cutouts/J0002.fits", image)
    before = snapshot(raw.parent)
    assert main(["ingest", "raw", "--to", "parts"]) == 2
    assert "row 3:" in capsys.readouterr().err
    assert {name for name in snapshot(raw.parent) if name not in before} == set()
    assert main(["ingest", "raw", "--to", "parts", "--skip-bad"]) == 0
    output = capsys.readouterr()
    assert "J0002.fits: 1,024 pixels are NaN or infinite in the band u" in output.err.replace("\n", "")
    assert "1 row skipped, all named in" in output.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder or table nowhere"),
        (["raw", "--magnitudes", "mag_u,mag_g"], "--magnitudes must name five columns"),
        (["raw", "--bands", "griz"], "names 4 bands and has the shape (5, 64, 64)"),
        (["raw", "--unit", "adu"], "--unit has pixels in 'adu', which is no unit of flux"),
        (["raw", "--workers", "0"], "--workers must be from 1"),
        (["raw", "--redshift", "zz"], "has no column 'zz'"),
        (["raw", "--size", "25"], "a size is written as 25MB"),
        (["raw/cutouts"], "holds no table"),
    ],
)
def test_wrong_input_is_one_sentence_exit_code_2_and_writes_nothing(raw, capsys, words, message):
    before = snapshot(raw.parent)
    assert main(["ingest", *words, "--to", "parts"]) == 2
    assert message in capsys.readouterr().err
    assert snapshot(raw.parent) == before


def test_partitions_that_are_there_are_not_mixed_with(raw, capsys):
    assert main(["ingest", "raw", "--to", "parts"]) == 0
    assert main(["ingest", "raw", "--to", "parts"]) == 2
    assert "holds 1 partition already" in capsys.readouterr().err
