import pytest

from tasks.simulation.survey import AS_TRAINED, Conditions, simulate
from tasks.training.demo_limits import CASES, scored, table


@pytest.mark.slow
def test_a_shallower_survey_is_flagged_and_its_intervals_do_not_hold():
    usual, shallow = (scored(simulate(300, 5, 1, conditions=each)) for each in (AS_TRAINED, Conditions(shallower=2)))
    assert shallow["nmad"] > 2 * usual["nmad"]
    assert shallow["coverage_68"] < 0.4 < 0.55 < usual["coverage_68"]
    assert usual["flagged"] < 0.1 < shallow["flagged"]


def test_the_table_has_a_row_for_each_case():
    names = ("nmad", "bias", "outlier_fraction_005", "coverage_68", "coverage_95", "without", "flagged")
    text = table({name: dict.fromkeys(names, 0.01) for name in CASES})
    assert all(f"| {name} |" in text for name in CASES)
    assert "+0.0100" in text
