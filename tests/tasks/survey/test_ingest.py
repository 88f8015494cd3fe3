import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput, StoreError
from inference.partitions.partition import open_partition
from inference.storage.store import Store
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions
from tasks.survey.ingest import ingest
from tasks.survey.object_index import OBJECT_SCHEMA
from tasks.survey.object_table import read_objects
from tasks.survey.partitions import Target
from tests.support.fits_survey import images_of, write_cube, write_survey


@pytest.fixture
def survey(tmp_path):
    """A folder with 10 cut-outs and their table, and what they hold."""
    images, table = write_survey(tmp_path / "raw", 10)
    return tmp_path / "raw", images, table


def objects_of(folder):
    return read_objects(folder / "objects.fits", folder, ColumnOptions())


def target_of(tmp_path):
    return Target(Store(tmp_path / "store"), "cosmicai-test", "survey")


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "store").rglob("*") if path.is_file())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_object_lies_in_a_partition_in_the_tables_order(tmp_path, survey, workers):
    folder, images, table = survey
    reported = []
    found = ingest(objects_of(folder), 4, target_of(tmp_path), workers=workers, progress=reported.append)
    parts = [open_partition(tmp_path / "store/cosmicai-test/survey" / f"{n}.pt", f"{n}") for n in (1, 2, 3)]
    assert [len(part) for part in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), images[:, :, 16:48, 16:48])
    np.testing.assert_array_equal(np.concatenate([part.redshifts for part in parts]), table["z_spec"])
    np.testing.assert_array_equal(np.concatenate([part.magnitudes for part in parts])[:, 4], table["mag_z"])
    assert (found.objects, len(found.written), found.skipped) == (10, 3, ())
    assert sum(reported) == 10


def test_a_note_says_which_object_lies_where(tmp_path, survey):
    folder, _, table = survey
    ingest(objects_of(folder), 4, target_of(tmp_path), ".safetensors", workers=1)
    note = pq.read_table(tmp_path / "store/cosmicai-test/survey.objects.parquet")
    assert note.schema.equals(OBJECT_SCHEMA)
    rows = note.to_pandas()
    assert rows["object_id"].tolist() == list(table["object_id"])
    assert rows["file"].tolist() == ["1.safetensors"] * 4 + ["2.safetensors"] * 4 + ["3.safetensors"] * 2
    assert rows["index"].tolist() == [0, 1, 2, 3] * 2 + [0, 1]
    assert rows["ra"].tolist() == table["ra"].tolist()


def test_a_folder_that_is_no_buckets_has_its_note_beside_it(tmp_path, survey):
    folder, _, _ = survey
    ingest(objects_of(folder), 10, Target(Store(tmp_path / "out"), "survey", ""), workers=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["survey", "survey.objects.parquet"]


def spoil(folder):
    """Two bad cut-outs and a missing one."""
    image = images_of(1)[0]
    write_cube(folder / "cutouts/J0003.fits", image[:4])
    image[1, 32, 32] = np.nan
    write_cube(folder / "cutouts/J0007.fits", image)
    (folder / "cutouts/J0005.fits").unlink()


def test_bad_rows_are_named_and_nothing_is_left(tmp_path, survey):
    folder, _, _ = survey
    spoil(folder)
    with pytest.raises(BadInput) as caught:
        ingest(objects_of(folder), 2, target_of(tmp_path), workers=1)
    message = str(caught.value)
    assert message.startswith("3 of 10 rows are bad in ")
    for each in (
        "row 4: ",
        "J0003.fits has the shape (4, 64, 64)",
        "row 6: there is no cut-out of the object 'J0005'",
        "1 pixel is NaN or infinite in the band g",
        "--skip-bad",
    ):
        assert each in message
    assert left(tmp_path) == []


def test_bad_rows_are_skipped_when_asked_and_noted(tmp_path, survey):
    folder, images, _ = survey
    spoil(folder)
    found = ingest(objects_of(folder), 4, target_of(tmp_path), workers=1, skip_bad=True)
    assert found.objects == 7
    assert [row for row, _ in found.skipped] == [4, 6, 8]
    assert left(tmp_path) == ["1.pt", "2.pt", "survey.objects.parquet", "survey.skipped.csv"]
    noted = pd.read_csv(tmp_path / "store/cosmicai-test/survey.skipped.csv")
    assert noted["row"].tolist() == [4, 6, 8]
    second = open_partition(tmp_path / "store/cosmicai-test/survey/2.pt", "2")
    np.testing.assert_array_equal(second.images, images[[6, 8, 9], :, 16:48, 16:48])


def test_of_objects_with_one_id_the_first_is_kept_when_asked(tmp_path):
    write_survey(tmp_path / "raw", 3, object_id=["a", "b", "a"])
    with pytest.raises(BadInput, match="row 3: the object id 'a' stands twice, in row 1 too"):
        ingest(objects_of(tmp_path / "raw"), 2, target_of(tmp_path), workers=1)
    assert ingest(objects_of(tmp_path / "raw"), 2, target_of(tmp_path), workers=1, skip_bad=True).objects == 2


def test_where_no_object_is_left_there_is_nothing_to_write(tmp_path, survey):
    folder, _, _ = survey
    for path in (folder / "cutouts").iterdir():
        path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"no object of .* can be used; row 1: .* and 5 more"):
        ingest(objects_of(folder), 2, target_of(tmp_path), workers=1, skip_bad=True)
    assert left(tmp_path) == []


def test_an_interrupted_ingest_leaves_nothing(tmp_path, survey):
    folder, _, _ = survey

    def interrupt(done):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(objects_of(folder), 2, target_of(tmp_path), workers=1, progress=interrupt)
    assert left(tmp_path) == []


def test_a_target_that_cannot_be_written_is_named(tmp_path, survey):
    folder, _, _ = survey
    (tmp_path / "store").write_text("a file is in the way")
    with pytest.raises(StoreError, match="cosmicai-test"):
        ingest(objects_of(folder), 2, target_of(tmp_path), workers=1)


@pytest.mark.parametrize(("cards", "scale"), [({"CD1_1": -0.396 / 3600, "CD2_2": 0.396 / 3600}, 0.396), ({}, None)])
def test_partitions_keep_the_scale_that_cutouts_say(tmp_path, cards, scale):
    images, _ = write_survey(tmp_path / "raw", 3)
    for path, image in zip(sorted((tmp_path / "raw").rglob("*.fits")), images, strict=False):
        if path.name != "objects.fits":
            write_cube(path, image, **cards)
    ingest(objects_of(tmp_path / "raw"), 4, target_of(tmp_path), workers=1)
    facts = open_partition(tmp_path / "store/cosmicai-test/survey/1.pt", "1").facts
    assert facts == SurveyFacts.of_sdss_bands(scale)


@pytest.mark.parametrize(
    ("options", "scale", "said"),
    [
        ({}, None, "the partitions will not say it either: where it is known, --scale 0.396 states it"),
        ({"scale_given": True}, 0.396, "taken as 0.396 arcseconds"),
        ({"scale": 0.262}, 0.262, "taken as 0.262 arcseconds"),
        ({"scale": 0.262, "model": "m.safetensors"}, None, "will not say it either: where it is known, --scale 0.262"),
    ],
)
def test_a_scale_that_nobody_stated_is_not_called_taken(tmp_path, survey, options, scale, said):
    found = ingest(objects_of(survey[0]), 10, target_of(tmp_path), workers=1, pixels=PixelOptions(**options))
    part = open_partition(tmp_path / "store/cosmicai-test/survey/1.pt", "1")
    assert part.facts is not None and part.facts.pixel_scale == scale
    assert any(note.startswith("10 cut-outs do not say how large") and said in note for note in found.notes)
