import json
import re

import numpy as np
import pytest
from safetensors import safe_open

from inference.errors import BadInput
from inference.model.checkpoint import content_hash, load, read_header
from inference.model.config import SMALL, AstroMAEConfig
from inference.partitions.partition import write_partition
from inference.storage.store import Store
from tasks import train as steps
from tasks.photoz.calibration import Calibration
from tasks.reporting import formatting as display
from tasks.training.galaxies import open_galaxies
from tasks.training.loop import HeldOut, Trained
from tasks.training.recipe import SDSS, Recipe, read_recipe
from tasks.training.report import card, curves, facts_of, page
from tests.support.models import TINY, random_model
from tests.support.surveys import SIZES, random_survey, write_survey
from tests.test_architecture import ROOT


class TestARecipeFile:
    @pytest.mark.parametrize("name", ["small", "full"])
    def test_that_is_shipped_can_be_read(self, name):
        config, recipe = read_recipe(json.loads((ROOT / f"deployments/training/{name}.json").read_text()))
        assert config == {"small": SMALL, "full": AstroMAEConfig()}[name]
        assert (recipe.pretraining is not None) == (name == "full")

    def test_may_hold_a_config_of_its_own(self):
        assert read_recipe({"model": TINY.to_dict(), "epochs": 3}) == (TINY, Recipe(epochs=3))

    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            ([], "a recipe must be a JSON object"),
            ({"model": "huge"}, "model must be small or published or a config, not 'huge'"),
            ({"model": 3}, "the config must be an object"),
            ({"model": {"depht": 3}}, "the config has no field 'depht'"),
            ({"epoch": 3}, "the recipe has no field 'epoch'"),
        ],
    )
    def test_that_is_wrong_is_refused_by_name(self, document, expected):
        with pytest.raises(BadInput, match=expected):
            read_recipe(document)


class TestGalaxies:
    def test_come_from_a_file_a_folder_or_a_bucket(self, tmp_path):
        write_survey(tmp_path / "store/cosmicai-test/survey")
        store = Store(tmp_path / "store")
        folder = tmp_path / "store/cosmicai-test/survey"
        assert len(open_galaxies(str(folder), store)) == sum(SIZES)
        assert len(open_galaxies("cosmicai-test/survey", store)) == sum(SIZES)
        assert len(open_galaxies(str(folder / "2.pt"), store)) == SIZES[1]

    def test_are_in_natural_order(self, tmp_path):
        for number in (1, 2, 10):
            write_partition(tmp_path / f"{number}.safetensors", *random_survey(number, seed=number))
        galaxies = open_galaxies(str(tmp_path), Store(tmp_path))
        np.testing.assert_array_equal(galaxies.redshifts[3:], random_survey(10, seed=10)[2])

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ("nowhere", "there is no file, folder or bucket/prefix nowhere"),
            ("cosmicai-none/survey", "there is no file, folder or bucket/prefix cosmicai-none/survey"),
            ("cosmicai-test/none", "there are no partitions .* in cosmicai-test/none"),
        ],
    )
    def test_that_are_not_there_are_named(self, tmp_path, data, expected):
        (tmp_path / "cosmicai-test").mkdir()
        with pytest.raises(BadInput, match=expected):
            open_galaxies(data, Store(tmp_path))

    def test_in_a_damaged_file_are_refused(self, tmp_path):
        (tmp_path / "1.pt").write_bytes(b"PK no")
        with pytest.raises(BadInput, match=r"1.pt"):
            open_galaxies(str(tmp_path), Store(tmp_path))


@pytest.fixture(scope="module")
def outcome():
    """A training that was not done, and the card's facts; only looked at."""
    rng = np.random.default_rng(0)
    spec = rng.uniform(0.05, 0.5, 80)
    entry = {"loss": 0.5, "learning_rate": 1e-3, "seconds": 2.0, "galaxies_per_s": 400.0}
    watched = {"nmad": 0.02, "r2": 0.9}
    history = {
        "pretraining": [entry | {"epoch": number} for number in (1, 2)],
        "training": [entry | watched | {"epoch": number, "loss": 0.1 / number} for number in (1, 2, 3)],
    }
    from tasks.photoz.metrics import photoz_metrics

    pred = spec + 0.01 * rng.normal(size=80)
    held = HeldOut(pred, spec, rng.uniform(16, 20, 80))
    trained = Trained(random_model(TINY, 0), photoz_metrics(pred, spec), held, held, history, "cpu", SDSS)
    recipe = Recipe.from_dict({"pretraining": {"epochs": 2}, "epochs": 3, "seed": 77})
    data = {"name": "<b>my survey</b>", "galaxies": 800, "pretraining": 720, "train": 640, "validation": 80, "test": 80}
    return trained, facts_of(trained, recipe.to_dict(), TINY.to_dict(), data)


def test_the_card_names_data_split_recipe_speed_and_figures_with_intervals(outcome):
    _, facts = outcome
    text = card(facts, {"model.safetensors": 1_234_567})
    for expected in (
        *(
            "800 galaxies",
            "640 of them trained on",
            "80 for validation",
            "80 for the figures",
            "seed 77",
            "75% of the patches hidden",
        ),
        *("1.2 MB", "| pretraining | 2 | 4 s | 400 galaxies/s |", " to ", "on cpu", '"epochs": 3'),
    ):
        assert expected in text, expected
    assert f"{facts['parameters']:,} parameters" in text


def test_a_recipe_without_pretraining_is_shown_as_such(outcome):
    _, facts = outcome
    text = card(facts | {"recipe": Recipe().to_dict()}, {})
    assert "without pre-training" in text


def test_each_phase_has_its_curves(outcome):
    trained, _ = outcome
    drawn = curves(trained.history)
    assert list(drawn) == ["pretraining", "training"]
    assert "NMAD of the galaxies looked at" in drawn["training"]
    assert list(curves({"pretraining": [], "training": trained.history["training"]})) == ["training"]


@pytest.fixture(scope="module")
def text_of_page(outcome):
    return page(*outcome)


def test_the_page_gives_each_figure_with_its_interval(outcome, text_of_page):
    _, facts = outcome
    low, high = facts["intervals"]["nmad"]
    assert f"{display.number(low)} to {display.number(high)} (95 % interval)" in text_of_page


def test_the_page_has_a_section_for_each_matter(text_of_page):
    sections = re.findall("<h2>(.*?)</h2>", text_of_page)
    assert sections[0] == "Quality on galaxies that were not trained on"
    assert sections[-6:] == ["Limits", "How to use it", "Galaxies", "Pre-training", "Training", "Model"]


def test_the_page_escapes_what_it_shows_and_needs_nothing_else(text_of_page):
    assert "<b>my survey</b>" not in text_of_page
    assert "&lt;b&gt;my survey&lt;/b&gt;" in text_of_page
    assert text_of_page.count("<svg") == 5
    assert "<script" not in text_of_page


OF_TWO_HUNDRED = (300, 200), 0.8  # sizes of partitions, and share held out: enough to calibrate on


def train_in(folder, sizes=(60, 40), held_out=0.2, **options):
    """Train a tiny model for three epochs, by default on a hundred galaxies, into `out` of the folder."""
    from flows.train import train

    document = {"model": TINY.to_dict(), "epochs": 2, "batch_size": 32, "pretraining": {"epochs": 1}}
    document["held_out"] = held_out
    if not (folder / "survey").exists():
        write_survey(folder / "survey", sizes)
    return train(str(folder / "survey"), str(folder / "out"), document, str(folder), device="cpu", **options)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, prefect_server):
    """(folder, document, data of the artifacts) of one training, half precision included."""
    from prefect.artifacts import Artifact

    from tests.support.prefect_command import reporting_to

    folder = tmp_path_factory.mktemp("trained")
    with reporting_to(prefect_server):
        document = train_in(folder, *OF_TWO_HUNDRED, half=True)
        keys = ("cosmic-model-card", "cosmic-training")
        return folder / "out", document, [Artifact.get(key).data for key in keys]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
class TestTheFlow:
    def test_leaves_weights_card_curves_and_page(self, trained_once):
        out, document, _ = trained_once
        assert {path.name for path in out.iterdir()} == {
            *("model.safetensors", "model-half.safetensors", "card.md", "training.html", "training.json"),
            *("curve-pretraining.svg", "curve-training.svg"),
            *("model.calibration.json", "model-half.calibration.json"),
        }
        config, facts = read_header(out / "model.safetensors")
        assert load(out / "model.safetensors").config == config == TINY
        assert (facts.bands, facts.pixel_scale, facts.pixel_unit) == (SDSS.bands, None, "nanomaggy")
        assert set(facts.ranges) >= {"redshift", "magnitude 1", "colour 1-2", "offset 5", "concentration"}
        assert document["data"]["train"] == 100
        assert document["metrics"]["samples"] == 200
        assert json.loads((out / "training.json").read_text())["sha256"] == document["sha256"]

    def test_calibrates_the_weights_on_the_validation_galaxies(self, trained_once):
        out, document, (card, _) = trained_once
        for name in ("model", "model-half"):
            model = content_hash(out / f"{name}.safetensors")
            made = Calibration.read((out / f"{name}.calibration.json").read_bytes(), name, model)
            assert made.made["galaxies"] == 200
        assert 0.5 < document["uncertainty"]["coverage_68"] < 0.85
        assert document["uncertainty"]["coverage_95"] > 0.85
        assert "test galaxies in their range" in card
        assert "Intervals on the same galaxies" in (out / "training.html").read_text()

    def test_weights_in_half_precision_are_half_as_large_and_predict_alike(self, trained_once):
        whole, half = (trained_once[0] / f"model{end}.safetensors" for end in ("", "-half"))
        floats = sum(tensor.numel() for tensor in load(whole).state_dict().values() if tensor.is_floating_point())
        assert whole.stat().st_size - half.stat().st_size == pytest.approx(
            2 * floats, abs=512
        )  # headers differ a little
        with safe_open(half, "pt") as file:
            assert file.get_slice("head.0.weight").get_dtype() == "F16"
        halved = load(half).state_dict()
        for name, tensor in load(whole).state_dict().items():
            np.testing.assert_allclose(halved[name], tensor, rtol=1e-3, atol=1e-6)

    def test_publishes_card_and_history_as_artifacts(self, trained_once):
        card, history = trained_once[2]
        assert card.startswith("# Model card")
        rows = json.loads(history)
        assert [(row["phase"], row["epoch"]) for row in rows] == [("pretraining", 1), ("training", 1), ("training", 2)]

    def test_writes_nothing_where_a_galaxy_cannot_be_used(self, tmp_path):
        images, magnitudes, redshifts = random_survey(60)
        images[-1, 0, 0, 0] = np.nan
        (tmp_path / "survey").mkdir()
        write_partition(tmp_path / "survey/1.safetensors", images, magnitudes, redshifts)
        with pytest.raises(BadInput, match=r"1.safetensors: sample 59 has NaN or infinite pixels"):
            train_in(tmp_path)
        assert not (tmp_path / "out").exists()

    def test_goes_on_where_it_was_broken_off(self, tmp_path, monkeypatch, trained_once):
        whole = trained_once[1]
        monkeypatch.setattr(steps, "save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_in(tmp_path, *OF_TWO_HUNDRED)
        assert (tmp_path / "out/state/training.safetensors").exists()
        monkeypatch.undo()
        again = train_in(tmp_path, *OF_TWO_HUNDRED)
        assert again["sha256"] != ""
        assert again["metrics"] == pytest.approx(whole["metrics"], rel=1e-3)
        assert not (tmp_path / "out/state").exists()


def test_with_pixel_scale_takes_the_galaxies_scale():
    assert steps.with_pixel_scale(Recipe(), [0.262]).data.pixel_scale == 0.262
    assert steps.with_pixel_scale(Recipe(), []) == Recipe()


def test_with_pixel_scale_refuses_galaxies_of_two_scales():
    with pytest.raises(BadInput, match=r"0\.262 and of 0\.396 arcseconds"):
        steps.with_pixel_scale(Recipe(), [0.262, 0.396])
