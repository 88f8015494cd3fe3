import dataclasses

import numpy as np
import pytest

from inference.contract.run_request import RunRequest
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput
from inference.model.training_data import TrainingData
from inference.partitions.partition import write_partition
from inference.storage.store import Store
from tasks.staging.known_survey import check_survey
from tasks.staging.weights import Weights
from tests.support.surveys import random_survey, request_of

BUCKET = "cosmicai-test"
SDSS = SurveyFacts.of_sdss_bands(0.396)


def weights(path, scale=0.396):
    trained = TrainingData(**dataclasses.asdict(SDSS) | {"pixel_scale": scale})
    return Weights(path, "models/m.safetensors", "0" * 64, None, training_data=trained)


@pytest.fixture
def check(tmp_path):
    """Check one partition of these facts, and of a model, as the preflight does."""

    def checked(facts, scale=0.396, suffix=".pt", source=False, **changes):
        path = tmp_path / BUCKET / "data" / f"1{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_partition(path, *random_survey(3), facts)
        store = Store(tmp_path)
        if source:
            changes |= {"data_prefix": "made", "partition": {"source": str(path), "size": 2}}
        request = RunRequest.read(request_of(data_bucket=BUCKET, **({"data_prefix": "data"} | changes)))
        listing = None if source else store.list(BUCKET, "data")
        return check_survey(request, store, listing, weights(path, scale))

    return checked


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("source", [False, True])
class TestCheckSurvey:
    def test_check_survey_takes_the_scale_of_the_model(self, check, suffix, source):
        assert check(SDSS, suffix=suffix, source=source) is None
        assert check(dataclasses.replace(SDSS, pixel_scale=0.4), suffix=suffix, source=source) is None

    def test_check_survey_refuses_another_in_one_sentence(self, check, suffix, source):
        other = dataclasses.replace(SDSS, pixel_scale=0.262)
        with pytest.raises(BadInput, match=r"0\.262 arcseconds .* trained on 0\.396: .*take_other_pixels") as raised:
            check(other, suffix=suffix, source=source)
        assert "\n" not in str(raised.value)

    def test_check_survey_notes_another_that_is_taken(self, check, suffix, source):
        other = dataclasses.replace(SDSS, pixel_scale=0.262)
        note = check(other, suffix=suffix, source=source, take_other_pixels=True)
        assert "0.262" in note
        assert "0.396" in note

    def test_check_survey_notes_partitions_without_facts(self, check, suffix, source):
        assert "do not say how large their pixels are" in check(None, suffix=suffix, source=source)

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"bands": tuple("grizy")}, "has the bands g r i z y and the model was trained on u g r i z"),
            ({"magnitude_system": "Vega"}, "has Vega magnitudes and the model was trained on AB"),
        ],
    )
    def test_check_survey_refuses_other_bands_and_magnitudes(self, check, suffix, source, facts, said):
        other = dataclasses.replace(SDSS, **facts)
        with pytest.raises(BadInput, match=said):
            check(other, suffix=suffix, source=source)
        assert said in check(other, suffix=suffix, source=source, take_other_pixels=True)


@pytest.mark.parametrize("unit", ["counts", "uJy"])
def test_check_survey_refuses_pixels_in_another_unit(check, unit):
    with pytest.raises(BadInput, match=f"has pixels in {unit} and the model was trained on nanomaggy"):
        check(dataclasses.replace(SDSS, pixel_unit=unit))
    assert check(dataclasses.replace(SDSS, pixel_unit="nanomaggies")) is None


def test_check_survey_converts_the_unit_of_a_source(check):
    assert check(dataclasses.replace(SDSS, pixel_unit="uJy"), source=True) is None


@pytest.mark.parametrize("scale", [0.262, 0.396])
def test_check_survey_takes_a_source_of_the_scale_of_the_model(tmp_path, scale):
    images, magnitudes, redshifts = random_survey(3)
    np.savez(tmp_path / "s.npz", images=images, magnitudes=magnitudes, redshifts=redshifts, pixel_scale=scale)
    request = request_of(data_prefix="made", partition={"source": str(tmp_path / "s.npz"), "size": 2})
    assert check_survey(RunRequest.read(request), Store(tmp_path), None, weights(tmp_path, scale)) is None


def test_check_survey_says_nothing_of_a_model_without_facts(check):
    assert check(dataclasses.replace(SDSS, pixel_scale=0.262), scale=None) is None
