"""A probe: a handful of a request's ranks, run for real so that the rest can be predicted from them."""

from dataclasses import dataclass

from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.runs.plan import select_files
from inference.storage.store import Store
from tasks.executors.base import cores
from tasks.executors.select import ON_AWS
from tasks.planning.planned_run import predict_request
from tasks.reporting.formatting import usd

CENTS = 5.0  # that a probe may cost unless the user names another sum
TURNS = 2  # runs of a probe: environments are cold in the first and warm in the second
_RANKS_ON_AWS = 8
_RANKS_A_WORKER = 2  # the first of a process is cold, the second warm


@dataclass(frozen=True)
class Probe:
    """What a probe runs.

    Attributes:
        requests: the runs, one after the other, each in a folder beside the request's own result path.
        ranks: of each of them.
        usd_p90: what all of them cost together in nine of ten cases, USD; None where nothing is billed.
    """

    requests: tuple[RunRequest, ...]
    ranks: int
    usd_p90: float | None

    def sentence(self, executor: str) -> str:
        """What is about to happen, for whoever pays."""
        price = "" if self.usd_p90 is None else f", at most {usd(self.usd_p90)} in nine of ten cases"
        where = " and ".join(f"{each.bucket}/{each.result_path}" for each in self.requests)
        return f"Probe: {counted(self.ranks, 'rank')}, {TURNS} times, {executor}{price}; results go to {where}"


def probe_of(request: RunRequest, store_root: str, executor: str, workers: int | None, cents: float = CENTS) -> Probe:
    """The probe of a request, if it may cost what it is expected to.

    Args:
        request: the checked request; its partitions must exist, and `partition` is left out.
        store_root: root of the store.
        executor: where the ranks run.
        workers: processes of the local executor.
        cents: US cents that the probe may cost; what is not billed (local and Dask workers) is not limited.

    Raises:
        BadInput: there are no partitions yet, or the probe would cost more, or its price is not known.
        StoreError: the store cannot be read.
    """
    listing = Store(store_root).list(request.data_bucket, request.data_prefix)
    if not listing:
        raise BadInput(
            f"a probe reads partitions, and there are none under {request.data_bucket}/{request.data_prefix}:"
            " make them first (`cosmic partition`), or plan without --probe"
        )
    wanted = _RANKS_ON_AWS if executor in ON_AWS else _RANKS_A_WORKER * (cores() if workers is None else workers)
    ranks = min(wanted, len(select_files(listing, request)))
    changes = {"file_limit": ranks, "world_size": ranks, "partition": None, "max_cost": None}
    requests = tuple(
        request.model_copy(update=changes | {"result_path": f"{request.result_path}-probe-{turn}"})
        for turn in range(1, TURNS + 1)
    )
    if executor not in ON_AWS:
        return Probe(requests, ranks, None)
    expected = predict_request(requests[0], store_root, executor, workers, listing)
    if expected.usd is None:
        raise BadInput("--probe: its price is not known for the region: `cosmic prices REGION` fetches it")
    price = TURNS * expected.usd.p90
    if price > cents / 100:
        raise BadInput(
            f"the probe of {counted(ranks, 'rank')} is expected to cost {usd(price)} ({expected.source}), more than the"
            f" {cents:g} cents that it may: `--probe {price * 100 * 1.05:.2g}` allows it"
        )
    return Probe(requests, ranks, price)
