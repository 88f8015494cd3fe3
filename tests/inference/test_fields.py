import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from inference.fields import checked_as, checked_int, text_of


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
