"""Which executor a run gets: `local`, `lambda`, `step-functions` or `dask`."""

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.storage.store import S3_ROOT
from tasks.executors.base import Executor, cores
from tasks.executors.cluster_file import Cluster
from tasks.executors.gpus import visible_gpus
from tasks.executors.local import LocalExecutor

EXECUTORS = ("local", "lambda", "step-functions", "dask")
ON_AWS = ("lambda", "step-functions")  # those whose ranks are calls of a function


def placed(request: RunRequest, executor: Executor) -> RunRequest:
    """The request with the region and architecture that its ranks really run in, whatever it names itself."""
    return request.model_copy(update=executor.aws_location())


def executor_of(name: str, request: RunRequest, store_root: str, workers: int | None) -> Executor:
    """The executor of that name, for a request.

    Args:
        name: one of EXECUTORS.
        request: the checked request.
        store_root: root of the store; functions reach no folder.
        workers: processes of the local executor; default one a GPU where the engine computes on these, else a core.

    Raises:
        BadInput: there is no such executor, or the functions could not reach the store.
    """
    if name not in EXECUTORS:
        raise BadInput(f"executor must be one of {', '.join(EXECUTORS)}, not {name!r:.40}")
    if request.cluster is not None and name != "dask":
        raise BadInput(f"cluster: it goes with the dask executor, not with {name}")
    if name == "dask":
        return _on_dask(request, store_root, workers)
    if name == "local":
        gpus = visible_gpus() if request.engine == "torch" and request.script is None else []
        if workers is None and gpus:
            workers = len(gpus)
        if workers is not None and request.max_concurrency is not None:
            workers = min(workers, request.max_concurrency)
        workers = request.max_concurrency if workers is None else workers
        return LocalExecutor(workers, request.rank_timeout, request.memory_mb, gpus=gpus)
    if store_root != S3_ROOT:
        raise BadInput(f"the {name} executor needs --store {S3_ROOT}: functions cannot reach the folder {store_root}")
    if workers is not None:
        raise BadInput(f"--workers is of local processes; max_concurrency in the request limits {name}")
    if name == "step-functions" and request.hedging:
        raise BadInput("hedging: a state machine calls its ranks itself and makes no backups; use --executor lambda")
    if name == "lambda":
        from tasks.executors.aws_lambda import LambdaExecutor  # with the AWS clients, which local runs do without

        return LambdaExecutor(request.function_name, request.max_concurrency, request.rank_timeout)
    from tasks.executors.step_functions import StepFunctionsExecutor

    return StepFunctionsExecutor(request.state_machine_arn, request.function_name, request.as_given())


def _on_dask(request: RunRequest, store_root: str, workers: int | None) -> Executor:
    from tasks.executors.dask_executor import DaskExecutor

    if request.cluster is not None and workers is not None:
        raise BadInput("--workers is of local processes; n_workers in the cluster's cluster_kwargs sets its size")
    if workers == 0:
        raise BadInput("--workers 0 runs ranks in this process, for a debugger; use it with --executor local")
    cluster = None if request.cluster is None else Cluster.read(request.cluster)
    there = cores()
    return DaskExecutor(cluster, workers or min(there, request.max_concurrency or there), request, store_root)
