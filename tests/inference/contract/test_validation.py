import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.validation import checked_as, checked_int, is_number, sanitize_text, shorten, text_of
from inference.errors import BadInput


@given(st.integers(1, 100))
def test_a_whole_number_may_come_as_a_number_or_as_text(number):
    assert {checked_int(value, "N", 1, 100) for value in (number, str(number), f" {number} ", float(number))} == {
        number
    }


@pytest.mark.parametrize("value", [None, True, "x", "", "1.5", 1.5, [1], float("nan"), "9" * 30])
def test_what_is_none_is_refused_by_name(value):
    with pytest.raises(BadInput, match="N must"):
        checked_int(value, "N", 1, 100)


@pytest.mark.parametrize("value", [0, 101, -1])
def test_a_number_out_of_range_is_refused_with_the_range(value):
    with pytest.raises(BadInput, match=f"N must lie between 1 and 100, not {value}"):
        checked_int(value, "N", 1, 100)


def test_text_that_is_missing_takes_the_default_if_there_is_one():
    assert text_of({}, "KEY", "usual") == "usual"
    with pytest.raises(BadInput, match="KEY is missing"):
        text_of({}, "KEY")
    with pytest.raises(BadInput, match="KEY must be text"):
        text_of({"KEY": 3}, "KEY")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, bool),
        (True, int),
        (-1, int),
        ("1", int),
        (float("inf"), float),
        (True, float),
        (1, str),
        ([], list),
        ([1], list),
    ],
)
def test_a_field_of_another_kind_is_refused_by_name(value, kind):
    with pytest.raises(BadInput, match="wrong samples"):
        checked_as("samples", value, kind)


def test_whole_seconds_become_a_float():
    assert isinstance(checked_as("wall_total_s", 3, float), float)


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300])
def test_a_number_beyond_reason_is_refused_though_no_float_could_hold_it(value, kind):
    assert not is_number(value)
    with pytest.raises(BadInput, match=r"wrong samples: (a number of 1329 bits|1e\+300)"):
        checked_as("samples", value, kind)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\ud800", "\u202e", "\0"])
def test_text_that_nothing_could_show_is_refused_in_a_result(text):
    with pytest.raises(BadInput, match="wrong device") as caught:
        checked_as("device", text, str)
    assert str(caught.value).isprintable()


def nested(depth):
    document = []
    for _ in range(depth):
        document = [document]
    return document


@pytest.mark.parametrize(
    "value", [nested(5_000), ["x" * 10**6] * 1000, {"a": nested(5_000)}, "x" * 10**6, 10**5_000], ids=type
)
def test_a_value_is_shown_in_brief_however_large_or_deep_it_is(value):
    assert 0 < len(shorten(value)) <= 60
    with pytest.raises(BadInput, match=r"^N must be a whole number|^N must lie between 0 and 1, not a number of"):
        checked_int(value, "N", 0, 1)


@given(st.text() | st.text(alphabet="\x1b[2J\x07\x9b\u202e\ud800\0\r\n a"))
def test_text_of_others_moves_no_cursor_and_breaks_no_encoding(text):
    shown = sanitize_text(text)
    shown.encode()
    assert not set(shown) & {"\x1b", "\x9b", "\x07", "\r", "\0", "\u202e", "\ud800"}


def test_ordinary_text_stays_as_it_is():
    for text in ("the partition survey/1.pt is truncated", "two\nlines", "Ångström ≤ 3 µm — “好”", "a b", "token: x"):
        assert sanitize_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach https://me:canary-word@host/path",
        "cannot reach http://canary@host",
        "{'AWS_SECRET_ACCESS_KEY': 'canary', 'PATH': '/bin'}",
        '{"AWS_SESSION_TOKEN":"canary"}',
        "GITHUB_TOKEN=canary",
        "DB_PASSWORD: canary",
    ],
)
def test_what_is_called_a_secret_is_left_out(text):
    assert "canary" not in sanitize_text(text)
    assert "***" in sanitize_text(text)


@pytest.mark.parametrize(
    "text", ["SECRET" * 50_000, "SECRET_" * 50_000 + " " * 50_000, "A" * 300_000, "SECRET \n" * 50_000, "://" * 100_000]
)
def test_sanitize_text_answers_for_long_text_of_one_pattern(text):
    assert sanitize_text(text) == text


def test_sanitize_text_masks_a_secret_in_the_value_of_another_name():
    assert sanitize_text("A=MY_TOKEN=canary B_SECRET_C : 'canary'") == "A=MY_TOKEN=*** B_SECRET_C : '***'"
