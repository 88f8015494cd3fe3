"""AWS's published price list, read into the price book.

The list is public and needs no account: a JSON file for each service and region, with products by SKU and their
on-demand terms (AWS Price List Bulk API, "Reading the service price list file").
"""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from inference.contract.json_text import parse_json
from inference.contract.validation import is_number, shorten
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.billing.price_book import PriceBook, RegionPrices, Tier, fetched_prices, load_price_book

URL = "https://pricing.us-east-1.amazonaws.com"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,2}-\d{1,2}")
_MOST_BYTES = 64 * 2**20
_WAIT_S = 60.0


class _Line(NamedTuple):
    """Where a price of the book stands: the service's file, the usage type without its region, the operation."""

    service: str
    usage: str
    units: float = 1.0
    operation: str = ""


_COMPUTE = {
    "x86_64": _Line("AWSLambda", "Lambda-GB-Second"),
    "arm64": _Line("AWSLambda", "Lambda-GB-Second-ARM"),
}
_FLAT = {
    "usd_per_million_requests": _Line("AWSLambda", "Request", 1e6),
    "usd_per_storage_gb_s": _Line("AWSLambda", "Lambda-Storage-GB-Second"),
    "usd_per_1000_s3_puts": _Line("AmazonS3", "Requests-Tier1", 1e3),
    "usd_per_1000_s3_gets": _Line("AmazonS3", "Requests-Tier2", 1e3),
    "usd_per_1000_state_transitions": _Line("AmazonStates", "StateTransition", 1e3),
    "usd_per_million_express_requests": _Line("AmazonStates", "StepFunctions-Request", 1e6),
    "usd_per_express_gb_s": _Line("AmazonStates", "StepFunctions-GB-Second"),
    "usd_per_gb_of_logs": _Line("AmazonCloudWatch", "DataProcessing-Bytes", operation="PutLogEvents"),
}
_SERVICES = sorted({line.service for line in (*_COMPUTE.values(), *_FLAT.values())})


def fetch_region(region: str, url: str = URL) -> RegionPrices:
    """A region's prices as AWS publishes them; what the list does not say, or says twice, is None.

    Args:
        region: such as `eu-north-1`; China's are on another list, in another currency.
        url: where the price list is.

    Raises:
        BadInput: the list cannot be reached, has no such region, or is not of its format.
    """
    if not _REGION.fullmatch(region):
        raise BadInput(f"REGION must be an AWS region such as eu-north-1, not {shorten(region, 40)}")
    offers, sources = {}, []
    for service in _SERVICES:
        address = f"{url.rstrip('/')}/offers/v1.0/aws/{service}/current/{region}/index.json"
        offers[service] = _Offer(_fetched(address, region), address)
        sources.append(address)
    compute = {name: tiers for name, line in _COMPUTE.items() if (tiers := _tiers(offers[line.service], line))}
    if not compute:
        raise BadInput(f"the price list at {sources[0]} has no price of Lambda's compute in {region}")
    flat = {name: tiers[0].usd for name, line in _FLAT.items() if (tiers := _tiers(offers[line.service], line))}
    return RegionPrices.model_validate(
        {"as_of": date.today(), "source": tuple(sources), "usd_per_gb_s": compute, **flat}
    )


def refresh(regions: Mapping[str, RegionPrices]) -> str:
    """Write a new book: the newest one, with these regions' prices in place of its own; returns its file.

    Raises:
        StoreError: the folder of books cannot be written.
    """
    book, today = load_price_book(), date.today()
    kept = {
        name: prices.model_copy(update={"as_of": prices.as_of or book.as_of, "source": prices.source or book.source})
        for name, prices in book.regions.items()
    }
    new = PriceBook(
        as_of=today,
        source=(URL,),
        note="Regions with a date of this book are from AWS's published price list; the others are older.",
        free_tier=book.free_tier,
        regions=kept | dict(regions),
    )
    folder, name = fetched_prices(), f"aws-lambda-{today}.json"
    Store(folder.parent).write(folder.name, name, new.model_dump_json(indent=1).encode())
    return str(folder / name)


class _Offer:
    """One service's price list of one region."""

    def __init__(self, document: object, address: str) -> None:
        try:
            self.products: dict[str, Any] = dict(document["products"])  # type: ignore[index]
            self.terms: dict[str, Any] = dict(document["terms"]["OnDemand"])  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            raise BadInput(f"{address} is not a price list of AWS") from None

    def dimensions(self, line: _Line) -> Iterator[list[Mapping[str, Any]]]:
        """The price dimensions of each product that the line names."""
        usage = re.compile(rf"(?:[A-Z]{{2,4}}\d?-)?{re.escape(line.usage)}")
        for sku, product in self.products.items():
            attributes = product.get("attributes", {})
            if usage.fullmatch(str(attributes.get("usagetype"))) and line.operation in {
                "",
                attributes.get("operation"),
            }:
                for term in self.terms.get(sku, {}).values():
                    yield list(term.get("priceDimensions", {}).values())


def _tiers(offer: _Offer, line: _Line) -> tuple[Tier, ...]:
    """The rising tiers of a price; none where the list has no such price, or different ones."""
    found = {tuple(_tiers_of(dimensions, line)) for dimensions in offer.dimensions(line)} - {()}
    return found.pop() if len(found) == 1 else ()


def _tiers_of(dimensions: list[Mapping[str, Any]], line: _Line) -> Iterator[Tier]:
    rows = []
    for row in dimensions:
        price, end = (row.get("pricePerUnit") or {}).get("USD"), row.get("endRange")
        usd, bound = _number(price), None if end == "Inf" else _number(end)
        if usd > 0:
            rows.append((_number(row.get("beginRange")), bound, float(f"{usd * line.units:.12g}")))
    for _, bound, usd in sorted(rows, key=lambda row: row[0]):
        yield Tier(up_to_gb_s=bound, usd=usd)


def _number(text: object) -> float:
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not is_number(value, 0):
        raise BadInput(f"the price list has {shorten(text, 40)} where a number must stand")
    return value


def _fetched(address: str, region: str) -> object:
    if not address.startswith(("https://", "http://")):
        raise BadInput(f"--url must begin with https://, not {shorten(address, 40)}")
    try:
        with urllib.request.urlopen(address, timeout=_WAIT_S) as answer:  # noqa: S310 - looked at above
            body = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        if error.code in {403, 404}:
            raise BadInput(f"AWS's price list has no region {region} ({address})") from None
        raise BadInput(f"{address} answers {error.code}: try again later") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise BadInput(f"AWS's price list cannot be reached at {address}: {reason}") from None
    if len(body) > _MOST_BYTES:
        raise BadInput(f"{address} is larger than {_MOST_BYTES >> 20} MB, which a price list is not")
    return parse_json(body, address)
