"""AWS's price list, served over HTTP in its own format, read into the book."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.cli import main
from inference.errors import BadInput
from tasks.billing.cost import compute_cost
from tasks.billing.price_book import PRICES, load_price_book
from tasks.billing.published_prices import fetch_region
from tests.tasks.billing.test_cost import CALL

REGION = "eu-north-1"
TIERS = {"0": ("6000000000", "0.0000166667"), "6000000000": ("15000000000", "0.0000150000")}
TIERS |= {"15000000000": ("Inf", "0.0000133334")}
# service: (usage type, other attributes, {beginRange: (endRange, USD)})
LIST = {
    "AWSLambda": [
        ("EUN1-Lambda-GB-Second", {"group": "AWS-Lambda-Duration"}, TIERS),
        ("EUN1-Lambda-GB-Second-ARM", {}, {"0": ("7500000000", "0.0000133334"), "7500000000": ("Inf", "0.00001200")}),
        ("EUN1-Lambda-Provisioned-GB-Second", {}, {"0": ("Inf", "0.0000097222")}),
        ("EUN1-Request", {}, {"0": ("Inf", "0.0000002000")}),
        ("EUN1-Lambda-Storage-GB-Second", {}, {"0": ("Inf", "0.0000000325")}),
        ("Global-Lambda-GB-Second", {}, {"0": ("400000", "0.0000000000")}),
    ],
    "AmazonS3": [
        ("EUN1-Requests-Tier1", {}, {"0": ("Inf", "0.0000050000")}),
        ("EUN1-Requests-SIA-Tier1", {}, {"0": ("Inf", "0.0000100000")}),
        ("EUN1-Requests-Tier2", {}, {"0": ("Inf", "0.0000004000")}),
    ],
    "AmazonStates": [
        ("EUN1-StateTransition", {}, {"0": ("Inf", "0.0000250000")}),
        ("EUN1-StepFunctions-Request", {}, {"0": ("Inf", "0.0000010000")}),
    ],
    "AmazonCloudWatch": [
        ("EUN1-DataProcessing-Bytes", {"operation": "PutLogEvents"}, {"0": ("Inf", "0.5412000000")}),
        ("EUN1-DataProcessing-Bytes", {"operation": "Elsewhere"}, {"0": ("Inf", "9.0000000000")}),
    ],
}


def offer(lines):
    """A price list file of one service and region, in the format of the Bulk API."""
    products, terms = {}, {}
    for number, (usage, attributes, prices) in enumerate(lines):
        sku = f"SKU{number:013}"
        products[sku] = {"sku": sku, "productFamily": "x", "attributes": {"usagetype": usage, **attributes}}
        dimensions = {
            f"{sku}.JRTCKXETXF.{begin}": {
                "unit": "x",
                "beginRange": begin,
                "endRange": end,
                "pricePerUnit": {"USD": usd},
                "appliesTo": [],
            }
            for begin, (end, usd) in reversed(prices.items())
        }
        code = f"{sku}.JRTCKXETXF"
        terms[sku] = {code: {"sku": sku, "effectiveDate": "2026-11-01T00:00:00Z", "priceDimensions": dimensions}}
    head = {"formatVersion": "v1.0", "publicationDate": "2026-11-20T10:00:00Z"}
    return head | {"products": products, "terms": {"OnDemand": terms}}


@pytest.fixture
def price_list():
    """URL of the list, and the documents that it serves, by path."""
    documents = {
        f"/offers/v1.0/aws/{service}/current/{REGION}/index.json": json.dumps(offer(lines)).encode()
        for service, lines in LIST.items()
    }

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            body = documents.get(self.path)
            self.send_response(403 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", documents
    server.shutdown()
    server.server_close()


@pytest.fixture
def own_books(tmp_path, monkeypatch):
    monkeypatch.setenv("COSMIC_PRICES", str(tmp_path / "prices"))
    return tmp_path / "prices"


def test_prices_of_a_region_are_read_as_published(price_list):
    prices = fetch_region(REGION, price_list[0])
    assert [(tier.up_to_gb_s, tier.usd) for tier in prices.usd_per_gb_s["x86_64"]] == [
        (6e9, 0.0000166667),
        (15e9, 0.000015),
        (None, 0.0000133334),
    ]
    assert prices.usd_per_gb_s["arm64"][0].usd == 0.0000133334
    assert prices.usd_per_million_requests == 0.20
    assert (prices.usd_per_1000_s3_puts, prices.usd_per_1000_s3_gets) == (0.005, 0.0004)
    assert prices.usd_per_1000_state_transitions == 0.025
    assert prices.usd_per_gb_of_logs == 0.5412
    assert prices.usd_per_express_gb_s is None, "the list does not have it"
    assert all(price_list[0] in source for source in prices.source)


def test_price_that_the_list_has_twice_is_not_guessed(price_list):
    url, documents = price_list
    lines = [*LIST["AmazonS3"], ("EUN1-Requests-Tier1", {}, {"0": ("Inf", "0.0000060000")})]
    documents[f"/offers/v1.0/aws/AmazonS3/current/{REGION}/index.json"] = json.dumps(offer(lines)).encode()
    assert fetch_region(REGION, url).usd_per_1000_s3_puts is None


def test_command_prices_makes_a_region_billable_and_keeps_the_others(price_list, own_books, capsys):
    assert compute_cost([CALL], region=REGION).usd is None
    before = load_price_book()
    assert main(["prices", REGION, "--url", price_list[0]]) == 0
    assert "0.0000166667" in capsys.readouterr().out
    after = load_price_book()
    assert compute_cost([CALL], region=REGION).usd > 0
    kept = after.regions["us-east-1"]
    assert (kept.usd_per_gb_s, kept.as_of) == (before.regions["us-east-1"].usd_per_gb_s, before.as_of)
    assert after.regions[REGION].as_of == after.as_of
    assert len(list(own_books.iterdir())) == 1
    assert not any(after.as_of.isoformat() in path.name for path in PRICES.iterdir())


@pytest.mark.parametrize(
    ("region", "body", "message"),
    [
        ("mars", None, "REGION must be an AWS region"),
        ("sa-east-1", None, "has no region sa-east-1"),
        (REGION, b"<html>", "is not JSON"),
        (REGION, b"[]", "is not a price list"),
        (REGION, json.dumps(offer([])).encode(), "no price of Lambda's compute"),
        (
            REGION,
            json.dumps(offer([("EUN1-Lambda-GB-Second", {}, {"0": ("Inf", "free")})])).encode(),
            "where a number must stand",
        ),
    ],
)
def test_list_that_is_wrong_is_refused_and_nothing_is_written(price_list, own_books, region, body, message, capsys):
    url, documents = price_list
    if body is not None:
        documents[f"/offers/v1.0/aws/AWSLambda/current/{REGION}/index.json"] = body
    assert main(["prices", region, "--url", url]) == 2
    assert message in capsys.readouterr().err
    assert not own_books.exists()


def test_list_out_of_reach_is_said_in_one_sentence():
    with pytest.raises(BadInput, match="cannot be reached"):
        fetch_region(REGION, "http://127.0.0.1:9")
