import os
from pathlib import Path

import numpy as np
import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput, StoreError
from inference.partitions.partition import open_partition, write_partition
from inference.storage.store import Store
from tasks.survey.partitions import Target, made_before, make_partitions, open_survey, samples_each, write_partitions
from tests.support.surveys import random_survey, request_of, snapshot

BUCKET = "cosmicai-data"


@pytest.fixture
def survey(tmp_path):
    path = tmp_path / "survey.pt"
    write_partition(path, *random_survey(70))
    return path


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def wanted(survey):
    """A request for partitions of the survey, 30 galaxies each unless it says otherwise."""

    def request(prefix="parts", **changes):
        partition = {"source": str(survey), "size": 30} | changes
        return RunRequest.read(request_of(data_bucket=BUCKET, data_prefix=prefix, partition=partition))

    return request


def make(request, store):
    return make_partitions(request, request.partition, store, "a run")


class TestWritingPartitions:
    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    @pytest.mark.parametrize("prefix", ["", "parts", "a/b"])
    def test_they_are_numbered_from_one_and_hold_the_survey_in_order(self, survey, store, prefix, suffix):
        reported = []
        target = Target(store, BUCKET, prefix)
        written = write_partitions(open_survey(survey), 30, target, suffix, reported.append)
        folder = f"{prefix}/" if prefix else ""
        assert [stored.key for stored in written] == [f"{folder}{number}{suffix}" for number in (1, 2, 3)]
        assert written == target.partitions()
        assert reported == [30, 30, 10]
        parts = [open_partition(store.read(BUCKET, stored.key), stored.key) for stored in written]
        for name, whole in zip(("images", "magnitudes", "redshifts"), random_survey(70), strict=True):
            np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), whole)

    def test_the_same_survey_gives_the_same_bytes(self, survey, store):
        for prefix in ("one", "two"):
            write_partitions(open_survey(survey), 30, Target(store, BUCKET, prefix))
        for number in (1, 2, 3):
            assert store.read(BUCKET, f"one/{number}.pt") == store.read(BUCKET, f"two/{number}.pt")

    def test_a_survey_without_redshifts_gives_partitions_without(self, tmp_path, store):
        write_partition(tmp_path / "bare.pt", *random_survey(20)[:2], None)
        (written,) = write_partitions(open_survey(tmp_path / "bare.pt"), 30, Target(store, BUCKET, "parts"))
        assert open_partition(store.read(BUCKET, written.key), "1.pt").redshifts is None

    def test_other_objects_in_the_folder_are_no_partitions(self, store):
        for key in ("parts/1.pt", "parts/2.safetensors", "parts/notes.txt", "parts-old/1.pt"):
            store.write(BUCKET, key, b"x")
        assert [stored.key for stored in Target(store, BUCKET, "parts").partitions()] == [
            "parts/1.pt",
            "parts/2.safetensors",
        ]


class TestASurvey:
    def test_that_is_a_folder_is_named(self, tmp_path):
        with pytest.raises(BadInput, match="is a folder: name the one file that holds the survey"):
            open_survey(tmp_path)

    @pytest.mark.parametrize("name", ["nowhere.pt", "a" * 300, "a\0b"])
    def test_that_is_not_there_is_named(self, tmp_path, name):
        with pytest.raises(BadInput, match="there is no survey file"):
            open_survey(tmp_path / name)

    def test_that_is_no_survey_is_named(self, tmp_path):
        (tmp_path / "text.pt").write_text("hello")
        with pytest.raises(BadInput, match=r"text\.pt is neither"):
            open_survey(tmp_path / "text.pt")


@pytest.mark.parametrize(
    ("size", "samples"),
    [("25MB", 1278), ("100 mb", 5113), ("1GB", 52357), ("0.5MB", 25), (30, 30), ("30", 30), (" 7 ", 7)],
)
def test_a_size_is_megabytes_or_a_number_of_samples(size, samples):
    assert samples_each(size) == samples


@pytest.mark.parametrize("size", ["", "MB", "0", 0, -1, "-1", "1.5", "25KB", "0.001MB", "²", "9" * 30, 10**10])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(BadInput):
        samples_each(size)


class TestPartitionsOfARun:
    def test_a_galaxy_that_no_model_can_take_is_named_and_nothing_is_written(self, wanted, store, survey):
        images, magnitudes, redshifts = random_survey(20)
        magnitudes[13, 1] = -9999
        write_partition(survey, images, magnitudes, redshifts)
        with pytest.raises(BadInput, match=r"1 of 20 galaxies of .*survey.pt cannot be used: sample 13: an"):
            make(wanted(), store)
        assert snapshot(Path(store.root)) == {}

    def test_they_are_made_once_and_used_again(self, wanted, store):
        assert made_before(wanted(), store) is None
        made = make(wanted(), store)
        before = snapshot(Path(store.root))
        assert made_before(wanted(), store) == make(wanted(), store) == made
        assert before == snapshot(Path(store.root))
        assert len(made) == 3

    def test_a_request_without_a_partition_has_none_made_before(self, store):
        assert made_before(RunRequest.read(request_of()), store) is None

    def test_the_folder_lists_nothing_but_partitions(self, wanted, store):
        make(wanted(), store)
        assert [stored.key for stored in store.list(BUCKET, "parts")] == ["parts/1.pt", "parts/2.pt", "parts/3.pt"]

    @pytest.mark.parametrize("what", ["size", "time", "content", "place"])
    def test_another_size_or_a_changed_source_is_refused(self, wanted, store, survey, what):
        make(wanted(), store)
        changes = {}
        if what == "size":
            changes = {"size": 10}
        elif what == "time":
            os.utime(survey, ns=(1, 1))
        elif what == "content":
            write_partition(survey, *random_survey(71))
        else:
            changes = {"source": str(survey.rename(survey.with_name("moved.pt")))}
        before = snapshot(Path(store.root))
        for try_it in (made_before, make):
            with pytest.raises(BadInput, match=f"{BUCKET}/parts/ holds partitions that were not made from"):
                try_it(wanted(**changes), store)
        assert snapshot(Path(store.root)) == before

    @pytest.mark.parametrize("what", ["one more", "one less", "one changed", "no manifest", "a damaged manifest"])
    def test_other_files_than_were_made_are_refused(self, wanted, store, what):
        made = make(wanted(), store)
        match what:
            case "one more":
                store.write(BUCKET, "parts/4.pt", b"x")
            case "one less":
                store.delete(BUCKET, [made[0].key])
            case "one changed":
                store.write(BUCKET, made[0].key, store.read(BUCKET, made[0].key))
            case "no manifest":
                store.delete(BUCKET, ["partitions/parts.json"])
            case _:
                store.write(BUCKET, "partitions/parts.json", b"{")
        with pytest.raises(BadInput, match=f"{BUCKET}/parts/ holds partitions that were not made from"):
            made_before(wanted(), store)

    @pytest.mark.parametrize("manifest", [b"", b"{", b"\xff", b"[" * 20_000, b"null", b"[]"])
    def test_a_damaged_manifest_without_partitions_is_written_anew(self, wanted, store, manifest):
        store.write(BUCKET, "partitions/parts.json", manifest)
        assert make(wanted(), store) == made_before(wanted(), store)

    def test_partitions_of_somebody_elses_are_never_touched(self, wanted, store):
        store.write(BUCKET, "parts/1.pt", b"somebody's")
        before = snapshot(Path(store.root))
        with pytest.raises(BadInput, match="leave out partition to use them"):
            make(wanted(), store)
        assert snapshot(Path(store.root)) == before

    def test_making_that_was_interrupted_goes_through_the_next_time(self, wanted, store, tmp_path):
        in_the_way = tmp_path / "store" / BUCKET / "parts" / "2.pt"
        (in_the_way / "folder").mkdir(parents=True)
        with pytest.raises(StoreError, match=r"parts/2\.pt"):
            make(wanted(), store)
        assert store.head(BUCKET, "parts/1.pt") is not None
        with pytest.raises(BadInput, match="not made from"):
            made_before(wanted(size=10), store)
        (in_the_way / "folder").rmdir()
        in_the_way.rmdir()
        assert make(wanted(), store) == made_before(wanted(), store)

    def test_a_wrong_source_or_size_is_refused_and_nothing_is_written(self, wanted, store):
        for changes, named in (
            ({"source": "/nowhere.pt"}, r"/nowhere\.pt"),
            ({"source": "~nobody-of-that-name/survey.pt"}, "nobody-of-that-name"),
            ({"source": "a" * 300}, "there is no survey file"),
            ({"size": "25 apples"}, "25 apples"),
            ({"size": 0}, "size"),
        ):
            for try_it in (made_before, make):
                with pytest.raises(BadInput, match=named):
                    try_it(wanted(**changes), store)
        assert snapshot(Path(store.root)) == {}
