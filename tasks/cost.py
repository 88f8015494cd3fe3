"""What a run costs on AWS Lambda, or would have: three ways to reckon it, always told apart."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from inference.combine import read_combined
from inference.errors import BadInput
from inference.events import RankResult
from inference.request import RunRequest
from inference.start import Start
from inference.store import Store
from tasks.executors.base import Invocation
from tasks.ledger import Ledger, keep_invocations, load_executions, load_invocations, of_records, transitions_of
from tasks.plan import read_request
from tasks.policy import STEP_RETRIES, worth_retrying
from tasks.price_book import PriceBook, Tier, load_price_book
from tasks.summarize import Summary

METHODS = ("billed", "used-memory", "as-printed")
MEANINGS = {
    "billed": "What AWS charges: allocated memory over every billed second, failed invocations included, plus"
    " requests, S3, state transitions and storage above 512 MB.",
    "used-memory": "The same with the memory that was used at most in place of the memory that was allocated: what a"
    " function of just the right size would cost.",
    "as-printed": "The formula of the report that this project starts from, kept to reconcile its table: invocations"
    " x total duration x used memory x $0.00001667. It counts the invocations twice, so it is no price.",
}
FREE_STORAGE_MB = 512
PRINTED_USD_PER_GB_S = 0.00001667  # contract, fault 9
_MB_PER_GB = 1024  # as Lambda counts memory and storage


@dataclass(frozen=True)
class CostItem:
    """One line of a bill: `usd` = `quantity` x `unit_usd`, both for one `unit`."""

    name: str
    quantity: float
    unit: str
    unit_usd: float
    usd: float


@dataclass(frozen=True)
class Cost:
    """A bill.

    Attributes:
        method: one of METHODS (MEANINGS says what each means).
        usd: the total.
        items: what it adds up.
        estimate: some billed time was measured by us, not reported by AWS.
        how: one sentence: whose prices, what is measured and what is assumed.
    """

    method: str
    usd: float
    items: tuple[CostItem, ...]
    estimate: bool
    how: str

    def to_dict(self) -> dict[str, Any]:
        """The bill as JSON."""
        return dataclasses.asdict(self) | {"items": [dataclasses.asdict(item) for item in self.items]}


def compute_cost(
    invocations: Sequence[Invocation],
    *,
    method: str = "billed",
    book: PriceBook | None = None,
    region: str = "us-east-1",
    architecture: str = "x86_64",
    ephemeral_mb: int = FREE_STORAGE_MB,
    state_transitions: int = 0,
    s3_puts: int = 0,
    s3_gets: int = 0,
) -> Cost:
    """Reckon what invocations cost.

    Args:
        invocations: every one that was made, failed ones included.
        method: one of METHODS.
        book: prices; default the newest book.
        region: AWS region.
        architecture: `x86_64` or `arm64`.
        ephemeral_mb: storage that the function was given, MB of 1,048,576 bytes.
        state_transitions: of Step Functions Standard.
        s3_puts: PUT, COPY, POST and LIST requests to S3.
        s3_gets: all other requests to S3.

    Raises:
        BadInput: no such method, or the book lacks the region or the architecture.
    """
    if method not in METHODS:
        raise BadInput(f"the cost method must be one of {', '.join(METHODS)}, not {method!r:.40}")
    book = book or load_price_book()
    tiers = book.tiers(region, architecture)
    if method == "as-printed":
        items = [_as_printed(invocations)]
    else:
        prices = book.regions[region]
        seconds = math.fsum(call.billed_s for call in invocations)
        storage_gb = max(ephemeral_mb - FREE_STORAGE_MB, 0) / _MB_PER_GB
        items = [
            *_compute(math.fsum(_gb(call, method) * call.billed_s for call in invocations), tiers),
            _item("requests", len(invocations), "requests", prices.usd_per_million_requests / 1e6),
            _item("storage above 512 MB", storage_gb * seconds, "GB-s", prices.usd_per_storage_gb_s),
            _item("S3 PUT and LIST", s3_puts, "requests", prices.usd_per_1000_s3_puts / 1e3),
            _item("S3 GET", s3_gets, "requests", prices.usd_per_1000_s3_gets / 1e3),
            _item("state transitions", state_transitions, "transitions", prices.usd_per_1000_state_transitions / 1e3),
        ]
    estimate = any(not call.billed_how.startswith("REPORT") for call in invocations)
    how = _how(invocations, method, book, f"{region} {architecture}")
    return Cost(method, math.fsum(item.usd for item in items), tuple(items), estimate, how)


def _gb(call: Invocation, method: str) -> float:
    return (call.memory_mb if method == "billed" else call.max_memory_mb) / _MB_PER_GB


def _item(name: str, quantity: float, unit: str, unit_usd: float) -> CostItem:
    return CostItem(name, quantity, unit, unit_usd, quantity * unit_usd)


def _compute(gb_s: float, tiers: Sequence[Tier]) -> list[CostItem]:
    """Compute, an item a tier that is reached, as if the month had begun with this run."""
    items: list[CostItem] = []
    below = 0.0
    for tier in tiers:
        end = math.inf if tier.up_to_gb_s is None else tier.up_to_gb_s
        if not items or gb_s > below:
            name = "compute" if not items else f"compute above {below / 1e9:g} billion GB-s"
            items.append(_item(name, min(gb_s, end) - below, "GB-s", tier.usd))
        below = end
    return items


def _as_printed(invocations: Sequence[Invocation]) -> CostItem:
    """The old report's formula; its used memory is here the mean over the invocations that told theirs."""
    told = [call.max_memory_mb / _MB_PER_GB for call in invocations if call.max_memory_mb > 0]
    gb = math.fsum(told) / len(told) if told else 0.0
    seconds = math.fsum(call.billed_s for call in invocations)
    quantity = len(invocations) * seconds * gb
    return _item("invocations x total duration x used memory", quantity, "GB-s", PRINTED_USD_PER_GB_S)


def _how(invocations: Sequence[Invocation], method: str, book: PriceBook, where: str) -> str:
    reported = sum(call.billed_how.startswith("REPORT") for call in invocations)
    total = len(invocations)
    if reported == total:
        source = "as AWS reported it"
    elif reported:
        source = f"as AWS reported it for {reported} and as measured here for {total - reported}"
    else:
        source = "as measured here, not by AWS"
    memory = "allocated memory" if method == "billed" else "the memory used at most"
    silent = sum(call.max_memory_mb <= 0 for call in invocations)
    if method != "billed" and silent:
        memory += f" ({silent} told none)"
    if method == "as-printed":
        return f"The old report's formula and its price, over {memory} and the time of {total} invocations {source}."
    return (
        f"Prices of {book.as_of} for {where}, on {memory} and the billed time of {total} invocations {source};"
        " the month's first price tier, no free tier, no data transfer and no logs are assumed."
    )


def _cost(
    invocations: Sequence[Invocation], method: str, request: RunRequest, store: Store, results: Sequence[RankResult]
) -> Cost:
    """The bill of a run; S3 requests are those of its finished ranks, where the store is S3 at all."""
    counted = () if store.is_local else results
    writes = sum(result.store_writes + 1 for result in counted)  # a record cannot count its own writing
    return compute_cost(
        invocations,
        method=method,
        region=request.region,
        architecture=request.architecture,
        state_transitions=transitions_of(load_executions(store, request.bucket, request.result_path)),
        s3_puts=writes,
        s3_gets=sum(result.store_requests - result.store_writes for result in counted),
    )


def cost_of_run(store_root: str, bucket: str, result_path: str, method: str) -> Cost:
    """The bill of a run that lies in the store.

    Raises:
        BadInput: no run ended there.
    """
    store = Store(store_root)
    invocations = load_invocations(store, bucket, result_path)
    results = read_combined(store, bucket, result_path)
    return _cost(invocations, method, read_request(store, bucket, result_path), store, results)


@task(
    name="compute cost",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def compute_costs(
    request: RunRequest, start: Start, summary: Summary, ledger: Ledger, store_root: str
) -> tuple[list[Cost], dict[int, float]]:
    """The bill by every method, the headline first; keeps the invocations and publishes the bill.

    Returns:
        The bills, and the seconds billed for each rank, all its attempts together.

    Raises:
        BadInput: the price book lacks the request's region.
        StoreError: the store cannot be written.
    """
    fingerprints = {event.rank: event.fingerprint for event in start.plan.events}
    store = Store(store_root)
    known = keep_invocations(store, request.bucket, request.result_path, ledger.invocations, fingerprints)
    unknown = of_records(summary.results, known, request.memory_mb)
    if unknown:
        known = keep_invocations(store, request.bucket, request.result_path, unknown, fingerprints)
    costs = [_cost(known, method, request, store, summary.results) for method in METHODS]
    bill = costs[0]
    create_table_artifact(
        [dataclasses.asdict(item) for item in bill.items],
        key="cosmic-bill",
        description=f"${bill.usd:.6f}, {bill.method}{', an estimate' if bill.estimate else ''}. {bill.how}",
    )
    billed: dict[int, float] = {}
    for invocation in known:
        billed[invocation.rank] = billed.get(invocation.rank, 0.0) + invocation.billed_s
    return costs, billed
