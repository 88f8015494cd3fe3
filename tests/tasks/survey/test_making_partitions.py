import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.partitions.partition import open_partition, write_partition
from inference.runs.plan import check_complete
from inference.storage.lease import LeaseHeldError
from inference.storage.store import Store
from tasks.preflight import prepare
from tasks.survey.partitions import Target, making_partitions
from tasks.training.galaxies import open_galaxies
from tests.support.surveys import random_survey, request_of

ROOT = Path(__file__).parents[3]
SAMPLES, EACH = 70, 10


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket in a store, with a survey beside it in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_partition(tmp_path / "survey.pt", *random_survey(SAMPLES))
    folder = tmp_path / "store" / "cosmicai-data"
    folder.mkdir(parents=True)
    return folder


def words(bucket, samples=EACH):
    return ["partition", "survey.pt", "--samples", str(samples), "--to", str(bucket / "parts")]


def killed_after(partitions, bucket):
    """Run `cosmic partition` in a process that kills itself with SIGKILL after so many partitions."""
    code = f"""
import os, signal
from inference.storage.store import Store
write, done = Store.write, 0
def dying(self, bucket, key, data):
    global done
    if key.endswith(".pt"):
        if done == {partitions}:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
    write(self, bucket, key, data)
Store.write = dying
from flows.cli import main
main({words(bucket)!r})
"""
    process = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert process.returncode == -9, process.stderr


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def samples_in(folder):
    return sum(len(open_partition(path, path.name)) for path in folder.iterdir())


def run_request():
    return RunRequest.read(request_of(bucket="cosmicai-data", data_bucket="cosmicai-data", data_prefix="parts"))


@pytest.mark.parametrize("partitions", [0, 1, 4, 6])
def test_killed_partition_is_refused_by_readers_and_made_anew(bucket, capsys, partitions):
    killed_after(partitions, bucket)
    for read in (
        lambda: check_complete(Store(bucket.parent), "cosmicai-data", "parts"),
        lambda: prepare(run_request(), str(bucket.parent), "local", None),
        lambda: (
            open_galaxies(str(bucket / "parts"), Store(bucket.parent))
            if partitions
            else check_complete(Store(bucket.parent), "cosmicai-data", "parts")
        ),
        lambda: open_galaxies("cosmicai-data/parts", Store(bucket.parent)),
    ):
        with pytest.raises(BadInput, match="run the same `cosmic partition` or `cosmic ingest` again"):
            read()
    assert main(words(bucket)) == 0
    check_complete(Store(bucket.parent), "cosmicai-data", "parts")
    assert names(bucket) == ["parts"]
    assert names(bucket / "parts") == [f"{number}.pt" for number in range(1, 8)]
    assert samples_in(bucket / "parts") == SAMPLES


def test_killed_partition_may_be_made_anew_at_another_size(bucket):
    killed_after(5, bucket)
    assert main(words(bucket, 35)) == 0
    assert names(bucket / "parts") == ["1.pt", "2.pt"]
    assert samples_in(bucket / "parts") == SAMPLES


def test_second_partition_of_a_folder_at_the_same_time_is_refused(bucket, capsys):
    target = Target(Store(bucket), "parts", "")
    with making_partitions(target, "cosmic partition"):
        assert main(words(bucket)) == 1
        assert "is held by run cosmic partition" in capsys.readouterr().err
        assert target.partitions() == []
    assert main(words(bucket)) == 0


@pytest.mark.parametrize("place", ["folder", "store"])
def test_lease_on_partitions_is_one_for_a_folder_and_its_key(bucket, place):
    targets = [Target(Store(bucket), "parts", ""), Target(Store(bucket.parent), "cosmicai-data", "parts")]
    first, second = targets if place == "folder" else reversed(targets)
    refused = pytest.raises(LeaseHeldError, match="held by run one")
    with making_partitions(first, "one"), refused, making_partitions(second, "two"):
        pass


def test_partitions_of_an_ended_making_are_left_alone(bucket, capsys):
    assert main(words(bucket)) == 0
    assert main(words(bucket)) == 2
    assert "holds 7 partitions already" in capsys.readouterr().err
    assert samples_in(bucket / "parts") == SAMPLES
