import pytest

from flows.cli.plan_tables import seconds_of, show_score, usd_of
from inference.errors import BadInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("60s", 60), ("1 h", 3600), ("1h30m", 5400), ("1h30min", 5400), ("1.5 min", 90), ("2h 10s", 7210)],
)
def test_a_deadline_is_read_as_people_write_it(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-5s", "inf", "1:30", "30m1h", "1e9h", "soon", "9999999999999 h", "1h30", "2min 30"]
)
def test_a_deadline_that_is_no_time_above_zero_is_refused(text):
    with pytest.raises(BadInput, match="--deadline is a time above 0, written as"):
        seconds_of(text)


@pytest.mark.parametrize(("text", "usd"), [("5", 5), ("$5", 5), ("5 USD", 5), ("0.10usd", 0.1), ("1e-9", 1e-9)])
def test_a_budget_is_read_as_people_write_it(text, usd):
    assert usd_of(text) == usd


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e400", "5 EUR", "5 USD a day"])
def test_a_budget_that_is_no_sum_above_zero_is_refused(text):
    with pytest.raises(BadInput, match="--budget must be a sum of USD above 0"):
        usd_of(text)


@pytest.mark.parametrize("folder", ["..", "../x", "x//y", "x\0y", "\ud800", ".", "n" * 5_000])
def test_score_of_a_folder_that_leads_elsewhere_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match=r"^--score ") as caught:
        show_score(f"bucket/{folder}", str(tmp_path), as_json=False)
    assert len(str(caught.value)) < 200
