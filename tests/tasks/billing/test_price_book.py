import json

import pytest

from inference.errors import BadInput
from tasks.billing.price_book import PRICES, load_price_book


def test_the_newest_book_is_the_default_and_its_date_is_its_files():
    newest = max(PRICES.glob("*.json"))
    assert newest.stem == f"aws-lambda-{load_price_book().as_of}"
    assert load_price_book(newest) == load_price_book()


def test_every_region_sells_both_architectures_and_arm_for_less():
    book = load_price_book()
    for region in book.regions:
        intel, arm = book.tiers(region, "x86_64"), book.tiers(region, "arm64")
        assert all(a.usd < i.usd for i, a in zip(intel, arm, strict=True))


def test_a_book_that_is_not_there_is_named(tmp_path):
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
def test_a_wrong_book_is_refused_by_file_and_field(tmp_path, spoil, named):
    document = json.loads(max(PRICES.glob("*.json")).read_text())
    spoil(document)
    path = tmp_path / "book.json"
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput, match=rf"book\.json is wrong in .*{named}"):
        load_price_book(path)


def test_what_is_no_json_is_refused_by_file(tmp_path):
    path = tmp_path / "book.json"
    path.write_text("{NaN")
    with pytest.raises(BadInput, match=r"book\.json is wrong in the document"):
        load_price_book(path)
