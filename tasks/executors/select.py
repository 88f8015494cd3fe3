"""Which executor a run gets: `local`, `lambda` or `step-functions`."""

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.storage.store import S3_ROOT
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.executors.base import Executor
from tasks.executors.gpus import visible_gpus
from tasks.executors.local import LocalExecutor
from tasks.executors.step_functions import StepFunctionsExecutor

EXECUTORS = ("local", "lambda", "step-functions")


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
        raise BadInput(f"--workers is of the local executor; max_concurrency in the request limits {name}")
    if name == "step-functions" and request.hedging:
        raise BadInput("hedging: a state machine calls its ranks itself and makes no backups; use --executor lambda")
    if name == "lambda":
        return LambdaExecutor(request.function_name, request.max_concurrency, request.rank_timeout)
    return StepFunctionsExecutor(request.state_machine_arn, request.function_name, request.document())
