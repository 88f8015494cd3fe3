import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main
from inference.partitions.partition import open_partition, write_partition
from tests.support.fits_survey import images_of, write_bands, write_cube, write_survey
from tests.support.surveys import random_survey, snapshot


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspected(capsys, *words):
    assert main(["inspect", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_table_is_described_with_what_would_be_taken_for_what(folder, capsys):
    lines = ["objid,u,g,r,i,z,Z", "007,20,19,18,17,16,0.1", "7,20,19,18,17,-99,0.2"]
    (folder / "t.csv").write_text("\n".join(lines))
    found = inspected(capsys, "t.csv")
    assert (found["form"], found["objects"]) == ("a table of text", 2)
    assert found["taken"] | {"redshift": "Z", "z magnitude": "z", "object id": "objid"} == found["taken"]
    assert found["facts"]["rows with plausible magnitudes"] == "1 of 2"
    assert [column["name"] for column in found["columns"]] == ["objid", "u", "g", "r", "i", "z", "Z"]


def test_two_candidates_are_doubtful_and_decided_by_an_option(folder, capsys):
    (folder / "t.csv").write_text("id,z_phot,z_pred,z_spec\n1,0.1,0.2,0.1\n")
    assert any("choose with --prediction" in doubt for doubt in inspected(capsys, "t.csv")["doubts"])
    found = inspected(capsys, "t.csv", "--prediction", "z_phot")
    assert found["taken"]["predicted redshift"] == "z_phot"


def test_a_survey_in_one_file_is_described_with_its_doubts(folder, capsys):
    images, magnitudes, redshifts = random_survey(6)
    magnitudes[2, 0] = -9999
    write_partition(folder / "s.pt", images, magnitudes, redshifts)
    found = inspected(capsys, "s.pt")
    assert found["facts"]["images"] == "(6, 5, 32, 32)"
    assert any("sample 2: an implausible magnitude" in doubt for doubt in found["doubts"])


def test_a_cutout_is_described_with_its_images_unit_and_scale(folder, capsys):
    image = images_of(1)[0]
    image[0] = 0
    write_cube(folder / "J.fits", image, CDELT1=-0.262 / 3600, CDELT2=0.262 / 3600)
    found = inspected(capsys, "J.fits")
    assert found["facts"] | {"unit": "nanomaggy", "pixel scale": "0.262 arcseconds"} == found["facts"]
    assert "its pixels are 0.262 arcseconds wide and the demo model's are 0.396" in found["doubts"]
    assert "its band u is 0 in every pixel" in found["doubts"]


def test_the_file_of_one_band_says_which(folder, capsys):
    write_bands(folder, "J", images_of(1)[0])
    write_cube(folder / "J_g.fits", images_of(1)[0][1], FILTER="g")
    assert inspected(capsys, "J_g.fits")["taken"] == {"one band": "g"}


def test_a_folder_is_described_by_its_table(folder, capsys):
    write_survey(folder / "raw", 3)
    assert inspected(capsys, "raw")["form"] == "a table of FITS (1)"


def test_a_person_reads_it_as_lines(folder, capsys):
    (folder / "t.csv").write_text("id,z_phot,z_spec\n1,0.1,0.1\n")
    assert main(["inspect", "t.csv"]) == 0
    out = capsys.readouterr().out
    assert "t.csv: a table of text, 1 object\n" in out
    assert "taken for predicted redshift" in out


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2", b"PK\3\4", b"SIMPLE  =", b"\x89HDF\r\n\x1a\n", b"PAR1", b"\x80\2."]
)
def test_what_is_nothing_known_is_refused_in_one_sentence(folder, capsys, content):
    (folder / "file").write_bytes(content)
    before = snapshot(folder)
    assert main(["inspect", "file"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert snapshot(folder) == before


def test_a_refused_table_points_to_it(folder, capsys):
    np.savetxt(folder / "t.csv", np.ones((2, 2)), delimiter=",", header="a,b", comments="")
    assert main(["metrics", "t.csv"]) == 2
    assert "(cosmic inspect t.csv says more)" in capsys.readouterr().err.replace("\n", " ")


def test_a_folder_of_parquet_with_images_is_a_survey_at_every_command(folder, capsys):
    images, magnitudes, _ = random_survey(6)
    columns = {f"mag_{band}": magnitudes[:, place] for place, band in enumerate("ugriz")}
    (folder / "s").mkdir()
    pq.write_table(pa.table({"image": images.tolist()} | columns), folder / "s" / "0.parquet")
    assert inspected(capsys, "s")["form"] == "a survey in one file"
    assert main(["ingest", "s", "--to", "parts"]) == 2
    assert "s is a table that holds the images itself: cosmic partition s cuts it" in capsys.readouterr().err
    assert main(["partition", "s", "--samples", "6", "--to", "parts"]) == 0
    np.testing.assert_allclose(open_partition(folder / "parts/1.pt", "1").images[:], images)


@pytest.mark.parametrize(
    "words", [["inspect", "s"], ["ingest", "s", "--to", "p"], ["partition", "s", "--samples", "6", "--to", "p"]]
)
def test_a_folder_of_damaged_parquet_is_refused_in_one_sentence(folder, capsys, words):
    (folder / "s").mkdir()
    (folder / "s" / "0.parquet").write_bytes(b"PAR1 and no more")
    assert main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cosmic ")]
    assert "0.parquet" in line
