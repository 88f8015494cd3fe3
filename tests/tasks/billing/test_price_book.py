import json

import pytest

from inference.errors import BadInput
from tasks.billing.price_book import PRICES, load_price_book


def test_book_by_default_is_the_newest_and_named_by_its_date():
    newest = max(PRICES.glob("*.json"))
    assert newest.stem == f"aws-lambda-{load_price_book().as_of}"
    assert load_price_book(newest) == load_price_book()


def test_book_has_arm_for_less_wherever_both_are_known():
    book = load_price_book()
    assert len(book.regions) >= 8
    for prices in book.regions.values():
        for intel, arm in zip(prices.usd_per_gb_s["x86_64"], prices.usd_per_gb_s.get("arm64", ()), strict=False):
            assert None in (arm.usd, intel.usd) or arm.usd < intel.usd


def test_book_says_of_each_region_added_later_where_its_prices_stand():
    for region, prices in load_price_book().regions.items():
        assert bool(prices.as_of) == bool(prices.source), region


def test_book_that_is_missing_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"cannot read the price book .*none\.json"):
        load_price_book(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda book: book.pop("as_of"), "as_of"),
        (lambda book: book.update(as_of="soon"), "as_of"),
        (lambda book: book["regions"]["us-east-1"].update(usd_per_1000_s3_gets=-1), "usd_per_1000_s3_gets"),
        (lambda book: book["regions"]["us-east-1"].update(usd_per_1000_s3_gets="a lot"), "usd_per_1000_s3_gets"),
        (lambda book: book["regions"]["us-east-1"].update(usd_per_wish=1), "usd_per_wish"),
        (lambda book: book["regions"]["us-east-1"]["usd_per_gb_s"]["arm64"].reverse(), "must rise"),
        (lambda book: book["regions"]["us-east-1"]["usd_per_gb_s"].update(arm64=[]), "no end"),
    ],
)
def test_book_that_is_wrong_is_refused_by_file_and_field(tmp_path, spoil, named):
    document = json.loads(max(PRICES.glob("*.json")).read_text())
    spoil(document)
    path = tmp_path / "book.json"
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput, match=rf"book\.json is wrong in .*{named}"):
        load_price_book(path)


def test_book_that_is_not_json_is_refused_by_file(tmp_path):
    path = tmp_path / "book.json"
    path.write_text("{NaN")
    with pytest.raises(BadInput, match=r"book\.json is not JSON"):
        load_price_book(path)
