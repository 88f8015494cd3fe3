import pytest

from inference.contract.survey_facts import SurveyFacts, differing_scales
from inference.errors import BadInput, BadPartition

FACTS = SurveyFacts(bands=("g", "r"), pixel_scale=0.262, pixel_unit="nanomaggy", magnitude_system="AB")


def test_survey_facts_reads_what_to_json_wrote():
    assert SurveyFacts.read(FACTS.to_json(), "1.pt") == FACTS
    assert SurveyFacts.read('{"depth": 24}', "1.pt") == SurveyFacts()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", r"^1\.pt: its survey facts must be an object"),
        ("{", r"^1\.pt: its survey facts is not JSON"),
        ('{"pixel_scale": -1}', r"^1\.pt: pixel_scale must be arcseconds above 0, not -1"),
        ('{"bands": "gr"}', r"^1\.pt: bands must be a list"),
    ],
)
def test_survey_facts_refuses_facts_that_lie_by_file(text, why):
    with pytest.raises(BadPartition, match=why):
        SurveyFacts.read(text, "1.pt")


def test_survey_facts_refuses_a_band_named_twice():
    with pytest.raises(BadInput, match="bands must differ"):
        SurveyFacts(bands=("g", "g"))


@pytest.mark.parametrize(("other", "differ"), [(0.396, False), (0.407, False), (0.41, True), (0.262, True)])
def test_differing_scales_begin_at_three_percent(other, differ):
    assert differing_scales(0.396, other) is differ
