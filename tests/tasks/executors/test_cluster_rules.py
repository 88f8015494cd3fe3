"""Values in a cluster file that Dask would take and fail on later, each refused in one sentence."""

import pytest

from inference.errors import BadInput
from tasks.executors.cluster_file import Cluster

LOCAL, SLURM = "distributed.LocalCluster", "dask_jobqueue.SLURMCluster"
JOB = {"cores": 2, "memory": "1GB", "n_workers": 1}


def check(cluster_class, kwargs, adapt=None):
    Cluster.read({"cluster_class": cluster_class, "cluster_kwargs": kwargs, "adapt_kwargs": adapt or {}}).check()


@pytest.mark.parametrize(
    ("cluster_class", "kwargs", "sentence"),
    [
        (LOCAL, {"n_workers": "two"}, "n_workers must be a whole number from 0, not 'two'"),
        (LOCAL, {"n_workers": -1}, "n_workers must be a whole number from 0, not -1"),
        (LOCAL, {"n_workers": 0}, "n_workers is 0, so that no worker would start"),
        (LOCAL, {"n_workers": 1.5}, "n_workers must be a whole number from 0, not 1.5"),
        (LOCAL, {"threads_per_worker": True}, "threads_per_worker must be a whole number from 1, not True"),
        (LOCAL, {"memory_limit": "lots"}, "memory_limit is written 16GB or 512MiB, not 'lots'"),
        (LOCAL, {"n_wrokers": 2}, "LocalCluster has no argument 'n_wrokers'; did you mean n_workers"),
        (LOCAL, {"asynchronous": True, "n_workers": 1}, "asynchronous is of programs that run an event loop"),
        (SLURM, JOB | {"processes": "many"}, "processes must be a whole number from 1, not 'many'"),
        (SLURM, JOB | {"processes": 8}, "8 processes cannot share 2 cores"),
        (SLURM, JOB | {"memory": "plenty"}, "memory is written 16GB or 512MiB, not 'plenty'"),
        (SLURM, {"n_workers": 1}, "You must specify how much cores and memory"),
        (
            SLURM,
            JOB | {"job_extra_directives": "--qos x"},
            "job_extra_directives must be a list of texts, not '--qos x'",
        ),
        (SLURM, JOB | {"job_script_prologue": ["module", 3]}, "job_script_prologue must be a list of texts"),
        (SLURM, JOB | {"queue": ["a"]}, r"queue must be a text, not \['a'\]"),
        (SLURM, JOB | {"shebang": 7}, "shebang must be a text, not 7"),
        ("distributed.SpecCluster", {}, "is no cluster of Dask's that starts workers by itself"),
        ("distributed.deploy.Cluster", {}, "is no cluster of Dask's that starts workers by itself"),
    ],
)
def test_check_arguments_refuses_values_of_no_use(cluster_class, kwargs, sentence):
    with pytest.raises(BadInput, match=sentence) as refused:
        check(cluster_class, kwargs)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("adapt", "sentence"),
    [
        ({"minimum": 5, "maximum": 2}, "minimum 5 is above maximum 2"),
        ({"minimum_jobs": 5, "maximum_jobs": 2}, "minimum_jobs 5 is above maximum_jobs 2"),
        ({"maximum": 0}, "maximum is 0, so that no worker would ever start"),
        ({"minimum": -1}, "minimum must be a whole number, not -1"),
        ({"maximum": "many"}, "maximum must be a whole number, not 'many'"),
        ({"max": 3}, "'max' is unknown; there are minimum, maximum, minimum_jobs, maximum_jobs"),
        ({"interval": "often"}, "interval must be seconds, or written 5s or 2 min, not 'often'"),
        ({"wait_count": -1}, "wait_count must be a whole number from 1, not -1"),
        ({"maximum_memory": "lots"}, "maximum_memory is written 16GB or 512MiB"),
    ],
)
def test_check_growth_refuses_limits_that_contradict(adapt, sentence):
    with pytest.raises(BadInput, match=f"adapt_kwargs: {sentence}"):
        check(SLURM, JOB, adapt)


def test_check_growth_refuses_jobs_where_there_are_none():
    with pytest.raises(BadInput, match="'maximum_jobs' counts jobs of a batch system, and this cluster has none"):
        check(LOCAL, {}, {"maximum_jobs": 3})


def test_check_growth_refuses_limits_that_its_class_does_not_know():
    with pytest.raises(BadInput, match=r"'maximum_cores' is unknown; there are minimum, maximum$"):
        check("tests.support.own_clusters.GrowsWithoutAPolicy", {}, {"maximum_cores": 3})


@pytest.mark.parametrize(
    ("system", "walltime"),
    [
        ("SLURM", "90"),
        ("SLURM", "02:00:00"),
        ("SLURM", "0-24:00:00"),
        ("SLURM", "1-12"),
        ("SLURM", "UNLIMITED"),
        ("PBS", "02:00:00"),
        ("PBS", 7200),
        ("Moab", "1:00:00:00"),
        ("SGE", "02:00:00"),
        ("OAR", "02:00:00"),
        ("LSF", "02:00"),
        ("LSF", "120"),
    ],
)
def test_check_arguments_takes_wall_times_of_its_system(system, walltime):
    check(f"dask_jobqueue.{system}Cluster", JOB | {"walltime": walltime})


@pytest.mark.parametrize(
    ("system", "walltime", "sentence"),
    [
        ("SLURM", "soon", r'SLURM wants its walltime in quotes, as "02:00:00" or "1-12:00:00"'),
        ("SLURM", 43200, "in quotes.*not 43200"),
        ("SLURM", "00:00:00", "SLURM wants"),
        ("SLURM", "2h", "SLURM wants"),
        ("PBS", "1-00:00:00", "PBS wants its walltime as 02:00:00"),
        ("LSF", "02:00:00", r'LSF wants its walltime in quotes, as "02:00" \(hours:minutes\)'),
        ("OAR", "-1:00:00", "OAR wants"),
        ("HTCondor", "01:00:00", "HTCondor's jobs take no walltime: leave it out"),
    ],
)
def test_check_arguments_refuses_wall_times_of_another_system(system, walltime, sentence):
    with pytest.raises(BadInput, match=sentence):
        check(f"dask_jobqueue.{system}Cluster", JOB | {"walltime": walltime})


def test_check_refuses_a_run_where_no_job_can_be_submitted(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster = Cluster.read({"cluster_class": SLURM, "cluster_kwargs": JOB})
    cluster.check()
    with pytest.raises(BadInput, match="sbatch is not on this machine, so that no job of SLURMCluster can be"):
        cluster.check(submits=True)
