import pytest

from inference.contract.json_text import MAX_DEPTH, parse_json
from inference.errors import BadInput, BadPartition


def nested(levels):
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2.5, null, true, "b"]}', b"\xef\xbb\xbf[]", "[{}, {}]", '{"a": {"b": 1}, "b": 1}', "3"]
)
def test_parse_json_accepts_a_sound_document(text):
    assert parse_json(text, "x.json") is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "x.json names the key 'a' twice"),
        ('[{"b": {"c": 1, "c": 2}}]', "x.json names the key 'c' twice"),
        ("", "x.json is not JSON: Expecting value"),
        ("{", "x.json is not JSON"),
        ("9" * 5_000, "x.json is not JSON: Exceeds the limit"),
        (b"\xff\xff", "x.json is not JSON: 'utf-8' codec"),
        (nested(MAX_DEPTH + 1), f"x.json is nested more than {MAX_DEPTH} levels deep"),
        (nested(100_000), "levels deep"),
        ('{"a":' * 100_000, "levels deep"),
    ],
)
def test_parse_json_refuses_damaged_text_in_a_sentence(text, expected):
    with pytest.raises(BadInput) as refusal:
        parse_json(text, "x.json")
    assert expected in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_parse_json_accepts_the_deepest_document_allowed():
    assert parse_json(nested(MAX_DEPTH), "x.json")


def test_parse_json_raises_the_error_that_its_caller_names():
    with pytest.raises(BadPartition):
        parse_json("{", "1.pt", BadPartition)
