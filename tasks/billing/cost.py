"""What a run costs on AWS Lambda, or would have cost: three methods, always labelled."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.contract.counted import counted
from inference.errors import BadInput
from tasks.billing.express import Express
from tasks.billing.price_book import FreeTier, PriceBook, Tier, load_price_book
from tasks.invocations.invocation import Invocation
from tasks.reporting.formatting import usd

METHODS = ("billed", "used-memory", "as-printed")


MEANINGS = {
    "billed": "What AWS charges: allocated memory over every billed second, failed invocations included, plus"
    " requests, storage above 512 MB, S3, Step Functions and logs. This is the bill.",
    "used-memory": "The same with the memory that was used at most in place of the memory that was allocated: what a"
    " function of just the right size would cost.",
    "as-printed": "The formula of the report that this project starts from, kept to reconcile its table: invocations"
    " x total duration x used memory x $0.00001667. It counts the invocations twice, so it is no price.",
}


FREE_STORAGE_MB = 512


LOG_BYTES = 512  # an invocation: START, END and REPORT with 26 bytes of overhead each, rounded up


PRINTED_USD_PER_GB_S = 0.00001667  # contract, fault 9


_MB_PER_GB = 1024  # as Lambda counts memory and storage


_BYTES_PER_GB = 2**30


_LOGS = f"estimate: {LOG_BYTES} bytes an invocation; what a staged script prints is not counted"


@dataclass(frozen=True)
class CostItem:
    """One line of a bill: `usd` = `quantity` x `unit_usd`, both for one `unit`; `how` says counted or estimated.

    Where no price is known, `unit_usd` and `usd` are None and the quantity stands.
    """

    name: str
    quantity: float
    unit: str
    unit_usd: float | None
    usd: float | None
    how: str


@dataclass(frozen=True)
class Cost:
    """A bill.

    Attributes:
        method: one of METHODS (MEANINGS says what each means).
        usd: the total; None where no price of compute is known.
        items: what it adds up.
        estimate: some billed time was not reported by AWS.
        emulated: some billed time was reported by the emulator.
        how: one sentence: whose prices, what is measured and what is assumed.
    """

    method: str
    usd: float | None
    items: tuple[CostItem, ...]
    estimate: bool
    emulated: bool
    how: str

    @property
    def label(self) -> str:
        """What must stand beside the total: "emulated, an estimate", "an estimate", or nothing."""
        return "emulated, an estimate" if self.emulated else "an estimate" if self.estimate else ""

    @property
    def headline(self) -> str:
        """The total with its method and its label, in one line."""
        total = "no price known" if self.usd is None else usd(self.usd)
        return ", ".join(part for part in (total, self.method, self.label) if part)

    def to_dict(self) -> dict[str, Any]:
        """The bill as JSON."""
        return dataclasses.asdict(self) | {"label": self.label}


def compute_cost(
    invocations: Sequence[Invocation],
    *,
    method: str = "billed",
    region: str = "us-east-1",
    architecture: str = "x86_64",
    ephemeral_mb: int = FREE_STORAGE_MB,
    state_transitions: int = 0,
    express: Express | None = None,
    s3_puts: int = 0,
    s3_gets: int = 0,
    free_tier: bool = False,
) -> Cost:
    """What invocations cost.

    Compute is allocated memory over billed time, each invocation's time in whole milliseconds, rounded up; since August
    2025 AWS bills the initialisation of a cold one too, and its REPORT line says so (AWS Lambda pricing).

    Args:
        invocations: every one that was made, failed ones included.
        method: one of METHODS.
        region: AWS region.
        architecture: `x86_64` or `arm64`.
        ephemeral_mb: storage that the function was given, MB of 1,048,576 bytes.
        state_transitions: of Step Functions Standard.
        express: EXPRESS executions (`tasks.billing.express.express_of`).
        s3_puts: PUT, COPY, POST and LIST requests to S3.
        s3_gets: all other requests to S3.
        free_tier: take off what is free each month, as if nothing else had used it.

    Raises:
        BadInput: no such method, or one that the free tier has no meaning for.
    """
    if method not in METHODS:
        raise BadInput(f"the cost method must be one of {', '.join(METHODS)}, not {method!r:.40}")
    book = load_price_book()
    source = _source(invocations)
    if method == "as-printed":
        if free_tier:
            raise BadInput("the free tier has no meaning for the method as-printed, which is no price")
        items = [_as_printed(invocations)]
    else:
        prices, free = book.prices(region), book.free_tier if free_tier else FreeTier()
        express = express or Express()
        storage_gb = max(ephemeral_mb - FREE_STORAGE_MB, 0) / _MB_PER_GB
        gb_s = math.fsum(_gb(call, method) * _billed_s(call) for call in invocations)
        storage_gb_s = storage_gb * math.fsum(map(_billed_s, invocations))
        logs_gb = len(invocations) * LOG_BYTES / _BYTES_PER_GB
        transitions = state_transitions - free.transitions
        items = [
            *_compute(max(gb_s - free.gb_s, 0.0), book.tiers(region, architecture), f"billed time {source}"),
            _item("requests", len(invocations) - free.requests, "requests", prices.usd_per_million_requests, 1e6),
            _item(
                "storage above 512 MB", storage_gb_s, "GB-s", prices.usd_per_storage_gb_s, how=f"billed time {source}"
            ),
            _item("S3 PUT and LIST", s3_puts, "requests", prices.usd_per_1000_s3_puts, 1e3),
            _item("S3 GET", s3_gets, "requests", prices.usd_per_1000_s3_gets, 1e3),
            _item("state transitions", transitions, "transitions", prices.usd_per_1000_state_transitions, 1e3),
            _item("EXPRESS requests", express.requests, "requests", prices.usd_per_million_express_requests, 1e6),
            _item("EXPRESS duration", express.gb_s, "GB-s", prices.usd_per_express_gb_s, how=express.how),
            _item("log ingestion", logs_gb - free.logs_gb, "GB", prices.usd_per_gb_of_logs, how=_LOGS),
        ]
    known = [item.usd for item in items if item.usd is not None]
    return Cost(
        method=method,
        usd=None if items[0].usd is None else math.fsum(known),
        items=tuple(items),
        estimate=not all(call.is_reported for call in invocations),
        emulated=any(call.is_emulated for call in invocations),
        how=_how(invocations, method, items, _prices_of(book, region, architecture), free_tier=free_tier),
    )


def _prices_of(book: PriceBook, region: str, architecture: str) -> str:
    """Which prices a bill is made from, as the beginning of a sentence."""
    where = f"{region} {architecture}"
    if architecture not in book.prices(region).usd_per_gb_s:
        return f"No price known for {where} (`cosmic prices {region}` fetches it): quantities only"
    return f"Prices of {book.prices(region).as_of or book.as_of} for {where}"


def _gb(call: Invocation, method: str) -> float:
    return (call.memory_mb if method == "billed" else call.max_memory_mb) / _MB_PER_GB


def _billed_s(call: Invocation) -> float:
    return math.ceil(round(call.billed_s * 1e3, 6)) / 1e3


def _item(
    name: str, quantity: float, unit: str, price: float | None, units: float = 1.0, how: str = "counted"
) -> CostItem:
    """A line at a price for so many units; what the free tier leaves below nothing is nothing."""
    quantity = max(quantity, 0)
    if price is None:
        return CostItem(name, quantity, unit, None, None, f"{how}; no price known, not in the total")
    return CostItem(name, quantity, unit, price / units, quantity * price / units, how)


def _compute(gb_s: float, tiers: Sequence[Tier], how: str) -> list[CostItem]:
    """Compute, an item a tier that is reached, as if the month had begun with this run."""
    items: list[CostItem] = []
    below = 0.0
    for tier in tiers:
        end = math.inf if tier.up_to_gb_s is None else tier.up_to_gb_s
        if not items or gb_s > below:
            name = "compute" if not items else f"compute above {below / 1e9:g} billion GB-s"
            items.append(_item(name, min(gb_s, end) - below, "GB-s", tier.usd, how=how))
        below = end
    return items


def _as_printed(invocations: Sequence[Invocation]) -> CostItem:
    """The old report's formula; its used memory is here the mean over the invocations where it is known."""
    known = [call.max_memory_mb / _MB_PER_GB for call in invocations if call.max_memory_mb > 0]
    gb = math.fsum(known) / len(known) if known else 0.0
    seconds = math.fsum(call.billed_s for call in invocations)
    quantity = len(invocations) * seconds * gb
    return _item("invocations x total duration x used memory", quantity, "GB-s", PRINTED_USD_PER_GB_S, how="as then")


def _source(invocations: Sequence[Invocation]) -> str:
    """Who says how long the invocations took."""
    reported, emulated = sum(call.is_reported for call in invocations), sum(call.is_emulated for call in invocations)
    total = len(invocations)
    if reported == total:
        return "as AWS reported it"
    if emulated:
        return f"as the emulator reported it for {emulated} of {total}, not AWS"
    if reported:
        return f"as AWS reported it for {reported} and as measured here for {total - reported}"
    return "as measured here, not by AWS"


def _how(
    invocations: Sequence[Invocation], method: str, items: Sequence[CostItem], prices: str, *, free_tier: bool
) -> str:
    source, total = _source(invocations), counted(len(invocations), "invocation")
    allocated = " and ".join(f"{memory:,} MB" for memory in sorted({call.memory_mb for call in invocations}))
    memory = f"allocated memory ({allocated or 'none'})" if method == "billed" else "the memory used at most"
    silent = sum(call.max_memory_mb <= 0 for call in invocations)
    if method != "billed" and silent:
        memory += f" (not known of {silent})"
    if method == "as-printed":
        return f"The old report's formula and its price, over {memory} and the time of {total} {source}."
    copies = [call for call in invocations if call.backup]
    if copies:
        source += f" ({len(copies)} of them backups of late ranks, {sum(map(_billed_s, copies)):.1f} s)"
    unpriced = [item.name for item in items if item.usd is None and item.quantity]
    missing = f" the total lacks {', '.join(unpriced)}, whose price is not known;" if items[0].usd and unpriced else ""
    return (
        f"{prices}, on {memory} and the billed time of {total} {source};{missing}"
        f" the month's first price tier, {'an untouched' if free_tier else 'no'} free tier, no data transfer and"
        f" {LOG_BYTES} bytes of log an invocation are assumed."
    )
