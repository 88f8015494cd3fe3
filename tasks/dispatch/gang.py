"""Gangs: ranks that send messages to one another run all at once or not at all."""

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.runs.plan import world_size_of
from inference.scripts.place import namespace
from inference.state_machine import NO_GANG
from tasks.executors.base import Executor

_MORE = {
    "local": "give --workers {ranks}",
    "lambda": "raise max_concurrency to {ranks}",
    "dask": "give the cluster {ranks} workers, and raise max_concurrency where the request has it",
}


def check_gang(request: RunRequest, executor: Executor) -> None:
    """See that all ranks of a run with messages can run at once; any other run passes.

    Raises:
        BadInput: they cannot, or they could not reach one another.
    """
    if request.messages is None:
        return
    if executor.takes_whole_run:
        raise BadInput(NO_GANG)
    if request.messages == "tcp" and executor.name == "lambda":
        raise BadInput("messages: functions do not reach one another over tcp: use store, or the URL of a Redis server")
    ranks = world_size_of(request, ())
    if executor.concurrency < ranks:
        raise BadInput(
            f"messages: all {ranks} ranks must run at once, and the executor {executor.name} runs"
            f" {executor.concurrency}:"
            f" {_MORE.get(executor.name, 'use fewer ranks').format(ranks=ranks)}"
        )
    if executor.name == "local" and ranks > 1 and not namespace():
        raise BadInput(
            f"messages: all {ranks} ranks must run at once, and on this machine one script runs at a time, because it"
            " allows no mount namespaces (unshare --mount): use another machine, or --executor dask or lambda"
        )
