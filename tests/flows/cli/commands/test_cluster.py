"""cosmic cluster: the ready-made files hold, and a file of no use is said to be in one sentence."""

import importlib.util

import pytest

from flows.cli import main
from tests.conftest import ROOT

FILES = sorted((ROOT / "deployments" / "clusters").glob("*.yaml"))


@pytest.mark.parametrize("path", [each for each in FILES if each.stem != "kubernetes"], ids=lambda path: path.stem)
def test_cluster_files_that_come_with_the_package_are_accepted(path, capsys):
    assert main(["cluster", str(path)]) == 0
    assert "one rank at a time on each" in "".join(capsys.readouterr())


def test_cluster_prints_the_script_that_would_be_submitted(capsys):
    assert main(["cluster", str(ROOT / "deployments" / "clusters" / "slurm.yaml")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("#!") and "#SBATCH -t 02:00:00" in out
    assert "at most 80 workers" in err


@pytest.mark.skipif(importlib.util.find_spec("dask_kubernetes") is not None, reason="dask-kubernetes is installed")
def test_cluster_names_the_package_that_kubernetes_needs(capsys):
    assert main(["cluster", str(ROOT / "deployments" / "clusters" / "kubernetes.yaml")]) == 2
    assert "`pip install dask-kubernetes` beside cosmic-flows" in capsys.readouterr().err


@pytest.mark.slow
def test_cluster_counts_the_workers_of_a_scheduler_that_runs(tmp_path, capsys):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0", protocol="tcp://") as there:
        (tmp_path / "there.yaml").write_text(f"scheduler: {there.scheduler_address}\n")
        assert main(["cluster", str(tmp_path / "there.yaml")]) == 0
    assert "answers and has 1 worker, one rank at a time" in "".join(capsys.readouterr())


def test_cluster_says_when_nobody_answers_at_a_scheduler(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tasks.executors.dask_connection._CONNECT_S", 1.0)
    (tmp_path / "nobody.yaml").write_text("scheduler: tcp://127.0.0.1:9\n")
    assert main(["cluster", str(tmp_path / "nobody.yaml")]) == 2
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in capsys.readouterr().err
