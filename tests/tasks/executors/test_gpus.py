import pytest

from inference.contract.run_request import RunRequest
from tasks.executors import select as choose
from tasks.executors.gpus import visible_gpus
from tasks.executors.select import executor_of
from tests.support.surveys import request_of


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver that knows three devices, none of them hidden."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for number in range(3):
        (tmp_path / f"0000:{number}1:00.0").mkdir()
    return tmp_path


def test_all_that_the_driver_knows_are_visible(driver):
    assert visible_gpus(driver) == ["0", "1", "2"]


def test_without_a_driver_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert visible_gpus(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("named", "visible"),
    [("2", ["2"]), ("1, GPU-ab", ["1", "GPU-ab"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("none", [])],
)
def test_those_that_are_named_are_visible_up_to_the_first_that_is_none(driver, monkeypatch, named, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus(driver) == visible


class TestTheLocalExecutor:
    def workers(self, monkeypatch, gpus, workers=None, **changes):
        monkeypatch.setattr(choose, "visible_gpus", lambda: gpus)
        return executor_of("local", RunRequest.read(request_of(**changes)), "/store", workers).workers

    def test_has_one_worker_a_gpu_for_the_engine_that_computes_there(self, monkeypatch):
        assert self.workers(monkeypatch, ["0", "1", "2"], engine="torch") == 3

    def test_has_as_many_as_are_asked_for_all_the_same(self, monkeypatch):
        assert self.workers(monkeypatch, ["0"], workers=2, engine="torch") == 2
        assert self.workers(monkeypatch, ["0", "1", "2"], engine="torch", max_concurrency=2) == 2

    def test_counts_cores_for_the_engine_that_knows_no_gpu(self, monkeypatch):
        assert self.workers(monkeypatch, ["0"] * 99) == self.workers(monkeypatch, [])
