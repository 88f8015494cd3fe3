"""Prices of AWS at a date, from a data file under tasks/billing/prices/."""

import itertools
import math
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.contract.json_text import parse_json
from inference.errors import BadInput

PRICES = Path(__file__).parent / "prices"

Usd = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Checked):
    """A price that holds up to so many GB-seconds a month (None: without end)."""

    up_to_gb_s: Usd | None
    usd: Usd


class RegionPrices(_Checked):
    """On-demand prices of one region, in the units of the pricing pages; None where a figure is not known.

    Attributes:
        usd_per_gb_s: tiers of compute, by architecture.
        usd_per_storage_gb_s: ephemeral storage above 512 MB.
        usd_per_1000_s3_puts: PUT, COPY, POST and LIST requests; `usd_per_1000_s3_gets` all others.
        usd_per_1000_state_transitions: Step Functions Standard; `..._express_...` are Express.
        usd_per_gb_of_logs: ingestion into CloudWatch Logs.
    """

    usd_per_gb_s: dict[str, tuple[Tier, ...]]
    usd_per_million_requests: Usd
    usd_per_storage_gb_s: Usd
    usd_per_1000_s3_puts: Usd
    usd_per_1000_s3_gets: Usd
    usd_per_1000_state_transitions: Usd
    usd_per_million_express_requests: Usd | None
    usd_per_express_gb_s: Usd | None
    usd_per_gb_of_logs: Usd | None

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

    gb_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    requests: Annotated[int, Field(ge=0)] = 0
    transitions: Annotated[int, Field(ge=0)] = 0
    logs_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


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

    def tiers(self, region: str, architecture: str) -> tuple[Tier, ...]:
        """The compute tiers of an architecture in a region.

        Raises:
            BadInput: the book does not have them; names those it has.
        """
        if region not in self.regions:
            raise BadInput(
                f"the price book of {self.as_of} has no region {region!r:.40}; it has {', '.join(self.regions)}"
            )
        by_architecture = self.regions[region].usd_per_gb_s
        if architecture not in by_architecture:
            raise BadInput(
                f"the price book of {self.as_of} has no architecture {architecture!r:.40} in {region};"
                f" it has {', '.join(by_architecture)}"
            )
        return by_architecture[architecture]


def load_price_book(path: Path | None = None) -> PriceBook:
    """Read and check a price book.

    Args:
        path: a book; default the newest that comes with this project.

    Raises:
        BadInput: the file is not there, is no JSON, or names no sound price; names file and field.
    """
    if path is None:
        path = max(PRICES.glob("aws-lambda-*.json"), key=lambda book: book.name)
    try:
        data = path.read_bytes()
        parse_json(data, f"the price book {path}")
        return PriceBook.model_validate_json(data)
    except OSError as error:
        raise BadInput(f"cannot read the price book {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise BadInput(f"the price book {path} is wrong in {field}: {first['msg']}") from None
