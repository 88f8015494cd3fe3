"""The `cluster` of a request, and cluster files: what is taken, and the sentence for what is not."""

import sys

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.executors.cluster_file import Cluster
from tasks.executors.select import executor_of
from tests.support.surveys import request_of

SLURM = {"cluster_class": "dask_jobqueue.SLURMCluster", "cluster_kwargs": {"cores": 1, "memory": "1GB"}}


def test_cluster_files_of_flint_are_read_as_they_are(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text(
        "cluster_class: dask_jobqueue.SLURMCluster\ncluster_kwargs:\n  cores: 8\n  processes: 8\n  memory: 128GB\n"
        "  walltime: '0-24:00:00'\n  job_extra_directives: ['--qos express']\n  interface: ib0\n"
        "adapt_kwargs:\n  minimum: 1\n  maximum: 36\n"
    )
    cluster = Cluster.read(str(path))
    assert cluster.is_job_queue
    assert cluster.most_workers == 36
    assert cluster.cluster_kwargs["walltime"] == "0-24:00:00"


@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        ({}, "name either a scheduler or a cluster_class"),
        ({"scheduler": "tcp://a:1", "cluster_class": "b.C"}, "name either a scheduler or a cluster_class"),
        ({"scheduler": "head-node:8786"}, "scheduler is written tcp://host:8786, not 'head-node:8786'"),
        ({"scheduler": "tcp://a:1", "adapt_kwargs": {"maximum": 2}}, "go with a cluster_class"),
        ({"cluster_class": "b.C", "kwargs": {}}, "unknown key 'kwargs'"),
        ({"cluster_class": "b.C", "usd_per_core_hour": -1}, "usd_per_core_hour"),
        ({"cluster_class": "b.C", "usd_per_core_hour": True}, "usd_per_core_hour: input should be a valid number"),
        ({"cluster_class": "b.C", "wait_for_workers": "60"}, "wait_for_workers: input should be a valid number"),
        ("nowhere.yaml", r"cannot read the cluster file nowhere\.yaml: No such file"),
        (3, "must be an object, an address or a file"),
    ],
)
def test_a_wrong_cluster_is_refused_in_one_sentence(cluster, sentence):
    with pytest.raises(BadInput, match=sentence) as refused:
        Cluster.read(cluster)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("cluster_class", "sentence"),
    [
        ("dask_jobqueue.SLURMClutser", "there is no 'dask_jobqueue.SLURMClutser' here"),
        ("nowhere.Cluster", "there is no 'nowhere.Cluster' here"),
        ("Cluster", "there is no 'Cluster' here"),
        ("distributed.SSHCluster", "SSHCluster is no class but a function.* `dask ssh HOST HOST ...`"),
        ("dask.distributed.SSHCluster", "give the run their scheduler's address"),
        ("os.system", "'os.system' is no cluster of Dask's"),
        ("subprocess.Popen", "'subprocess.Popen' is no cluster of Dask's"),
    ],
)
def test_a_class_that_is_no_cluster_is_refused_and_never_called(cluster_class, sentence):
    with pytest.raises(BadInput, match=sentence):
        Cluster.read({"cluster_class": cluster_class}).check()


@pytest.mark.parametrize("module", ["this", "antigravity", "idlelib.idle", "__main__"])
def test_a_class_of_a_module_that_does_things_is_not_imported(module):
    with pytest.raises(BadInput, match="is no cluster of Dask's"):
        Cluster.read({"cluster_class": f"{module}.Cluster"}).check()
    assert not {"this", "antigravity", "idlelib.idle"} & {*sys.modules}


@pytest.mark.parametrize("text", ["raise RuntimeError('\\x1b[2Jboom\\nand more')", "raise SystemExit(0)", "1 +"])
def test_a_class_whose_module_fails_is_refused_in_one_sentence(text, tmp_path, monkeypatch):
    (tmp_path / "own_cluster_that_fails.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match=r"the module of 'own_cluster_that_fails.Cluster' fails") as caught:
        Cluster.read({"cluster_class": "own_cluster_that_fails.Cluster"}).check()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "no job would start: set n_workers in cluster_kwargs"),
        ({"n_workers": 2, "coers": 3}, "cluster_kwargs: dask_jobqueue.SLURMCluster refuses them"),
    ],
)
def test_a_job_queue_is_checked_without_a_job(changes, sentence):
    kwargs = SLURM["cluster_kwargs"] | changes
    with pytest.raises(BadInput, match=sentence):
        Cluster.read(SLURM | {"cluster_kwargs": kwargs}).check()


def test_a_job_queue_that_would_start_is_accepted_without_a_job():
    Cluster.read(SLURM | {"adapt_kwargs": {"maximum_jobs": 3}}).check()


@pytest.mark.parametrize(
    ("name", "changes", "workers", "sentence"),
    [
        ("local", {"cluster": "tcp://a:1"}, None, "goes with the dask executor, not with local"),
        ("dask", {"cluster": "tcp://a:1"}, 2, "n_workers in the cluster's cluster_kwargs"),
        ("dask", {}, 0, "use it with --executor local"),
        ("dask", {"cluster": {}}, None, "name either a scheduler or a cluster_class"),
    ],
)
def test_a_cluster_goes_with_the_dask_executor_alone(name, changes, workers, sentence):
    with pytest.raises(BadInput, match=sentence):
        executor_of(name, RunRequest.read(request_of(**changes)), "/store", workers)
