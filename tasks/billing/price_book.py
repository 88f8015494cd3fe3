"""Prices of AWS at a date, from a data file under tasks/billing/prices/."""

import itertools
import math
import os
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.contract.documents import read_document
from inference.contract.json_text import parse_json
from inference.contract.validation import shorten
from inference.errors import BadInput

PRICES = Path(__file__).parent / "prices"


def fetched_prices() -> Path:
    """Folder of the books that `cosmic prices` writes, for all projects of this user."""
    return Path(os.environ.get("COSMIC_PRICES") or Path.home() / ".cosmic" / "prices")


Usd = Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False)]  # sums and products stay finite


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Checked):
    """A price that holds up to so many GB-seconds a month (None: without end); no price where it is not known."""

    up_to_gb_s: Usd | None
    usd: Usd | None


class RegionPrices(_Checked):
    """On-demand prices of one region, in the units of the pricing pages; None where a figure is not known.

    Attributes:
        as_of, source: when they held and where they stand, where that is not the book's.
        usd_per_gb_s: tiers of compute, by architecture.
        usd_per_storage_gb_s: ephemeral storage above 512 MB.
        usd_per_1000_s3_puts: PUT, COPY, POST and LIST requests; `usd_per_1000_s3_gets` all others.
        usd_per_1000_state_transitions: Step Functions Standard; `..._express_...` are Express.
        usd_per_gb_of_logs: ingestion into CloudWatch Logs.
    """

    as_of: date | None = None
    source: tuple[str, ...] = ()
    usd_per_gb_s: dict[str, tuple[Tier, ...]]
    usd_per_million_requests: Usd | None = None
    usd_per_storage_gb_s: Usd | None = None
    usd_per_1000_s3_puts: Usd | None = None
    usd_per_1000_s3_gets: Usd | None = None
    usd_per_1000_state_transitions: Usd | None = None
    usd_per_million_express_requests: Usd | None = None
    usd_per_express_gb_s: Usd | None = None
    usd_per_gb_of_logs: Usd | None = None

    @model_validator(mode="after")
    def _tiers_rise_to_no_end(self) -> Self:
        for architecture, tiers in self.usd_per_gb_s.items():
            bounds = [math.inf if tier.up_to_gb_s is None else tier.up_to_gb_s for tier in tiers]
            if not bounds or bounds[-1] != math.inf or any(a >= b for a, b in itertools.pairwise(bounds)):
                raise ValueError(f"the tiers of {architecture} must rise, and the last one must have no end")
        return self


class FreeTier(_Checked):
    """What is free in every month, not in an account's first year only; nothing by default.

    Attributes:
        gb_s: of Lambda compute, either architecture; `requests` of Lambda.
        transitions: of Step Functions Standard; EXPRESS has none.
        logs_gb: ingested into CloudWatch Logs.
    """

    gb_s: Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)] = 0.0
    requests: Annotated[int, Field(ge=0, le=10**18)] = 0
    transitions: Annotated[int, Field(ge=0, le=10**18)] = 0
    logs_gb: Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)] = 0.0


class PriceBook(_Checked):
    """Prices of AWS at a date.

    Attributes:
        as_of: when they held.
        source: pages to check them against; `note` says how they are known.
        free_tier: the same in every region.
        regions: by the region's name.
    """

    as_of: date
    source: tuple[str, ...]
    note: str
    free_tier: FreeTier
    regions: dict[str, RegionPrices]

    def prices(self, region: str) -> RegionPrices:
        """What is known of a region's prices; each of them is None where the book does not have the region."""
        return self.regions.get(region, RegionPrices(usd_per_gb_s={}))

    def tiers(self, region: str, architecture: str) -> tuple[Tier, ...]:
        """The compute tiers of an architecture in a region; one without a price where none is known."""
        return self.prices(region).usd_per_gb_s.get(architecture, (Tier(up_to_gb_s=None, usd=None),))


def load_price_book(path: Path | None = None) -> PriceBook:
    """Read and check a price book.

    Args:
        path: a book; default the newest of those that come with this project and those that `cosmic prices` wrote.

    Raises:
        BadInput: the file is not there, is no JSON, or names no sound price; names file and field.
    """
    if path is None:
        books = [*PRICES.glob("aws-lambda-*.json"), *fetched_prices().glob("aws-lambda-*.json")]
        path = max(books, key=lambda book: book.name)
    data = read_document(path, "the price book")
    try:
        parse_json(data, f"the price book {path}")
        return PriceBook.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise BadInput(f"the price book {path} is wrong in {shorten(field, 120)}: {first['msg']}") from None
