"""Bands, size and scale of a survey are what its owner says, for every command that makes partitions."""

import dataclasses
import json

import numpy as np
import pytest
from astropy.io import fits

from flows.cli import main
from inference.model.checkpoint import save
from inference.model.training_data import TrainingData
from inference.partitions.partition import open_partition
from tests.support.fits_survey import images_of, table_of, write_bands, write_cube, write_extensions
from tests.support.models import TINY, random_model
from tests.support.own_models import OwnModel, exported
from tests.support.surveys import snapshot

COUNT = 3
SURVEYS = {
    "griz of 32 at 0.262": ("griz", 32, 0.262),
    "grizy of 48": ("grizy", 48, 0.396),
    "three bands of 64": ("grz", 64, 0.2),
    "one band": ("r", 40, 0.396),
    "names of their own": (("vis", "y", "j", "h"), 40, 0.1),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=SURVEYS, ids=list(SURVEYS))
def survey(request):
    """Bands, side, scale; images of two pixels more, and a table in `raw`."""
    bands, side, scale = SURVEYS[request.param]
    return tuple(bands), side, scale


def write_raw(folder, bands, side, scale, form):
    """Cut-outs in a form that people have, and their table; return the images."""
    (folder / "raw").mkdir()
    images, table = images_of(COUNT, side + 2, bands=bands), table_of(COUNT, bands=bands)
    table.write(folder / "raw" / "objects.fits")
    cards = {"CDELT1": -scale / 3600, "CDELT2": scale / 3600}
    for name, image in zip(table["object_id"], images, strict=True):
        path = folder / "raw" / f"{name}.fits"
        if form == "cube in another order":
            write_cube(path, image[::-1], BANDS=",".join(bands[::-1]), **cards)
        elif form == "cube that says nothing":
            write_cube(path, image, **cards)
        elif form == "extensions":
            write_extensions(path, image, bands=bands)
        elif form == "a file a band":
            write_bands(folder / "raw", name, image, bands=bands)
    return images, table


FORMS = ["cube in another order", "cube that says nothing", "extensions", "a file a band"]


@pytest.mark.parametrize("form", FORMS)
def test_ingest_takes_bands_size_and_scale_that_are_named(folder, survey, form):
    bands, side, scale = survey
    images, table = write_raw(folder, *survey, form)
    words = ["--take", ",".join(bands) + ",", "--cutout", str(side), "--scale", str(scale), "--workers", "1"]
    assert main(["ingest", "raw", "--to", "parts", *words]) == 0
    part = open_partition(folder / "parts" / "1.pt", "1.pt")
    assert (tuple(part.bands), part.image_shape) == (bands, (len(bands), side, side))
    assert part.facts.pixel_scale == scale
    np.testing.assert_array_equal(part.images, images[:, :, 1:-1, 1:-1])
    wanted = np.stack([table[f"mag_{band}"] for band in bands], axis=1)
    np.testing.assert_array_equal(part.magnitudes, wanted)


@pytest.mark.parametrize(("order", "wanted"), [("zirg", "griz"), ("y,z,i,r,g", "grizy")])
def test_bands_of_planes_alone_say_which_bands_there_are(folder, order, wanted):
    letters = order.replace(",", "")
    images, _ = write_raw(folder, letters, 32, 0.396, "cube that says nothing")
    assert main(["ingest", "raw", "--to", "parts", "--bands", order, "--workers", "1"]) == 0
    part = open_partition(folder / "parts" / "1.pt", "1.pt")
    assert "".join(part.bands) == wanted
    np.testing.assert_array_equal(part.images, images[:, ::-1, 1:-1, 1:-1])


def test_some_bands_are_taken_of_a_survey_that_has_more(folder):
    images, table = write_raw(folder, "ugrizy", 32, 0.396, "cube in another order")
    assert main(["ingest", "raw", "--to", "parts", "--take", "riz", "--workers", "1"]) == 0
    part = open_partition(folder / "parts" / "1.pt", "1.pt")
    np.testing.assert_array_equal(part.images, images[:, 2:5, 1:-1, 1:-1])
    assert main(["ingest", "raw", "--to", "usual", "--workers", "1"]) == 0, "without a word it is u g r i z"
    assert open_partition(folder / "usual" / "1.pt", "1.pt").image_shape == (5, 32, 32)
    assert main(["partition", "usual/1.pt", "--samples", "2", "--to", "cut", "--take", "zg"]) == 0
    cut = open_partition(folder / "cut" / "1.pt", "1.pt")
    np.testing.assert_array_equal(cut.images, images[:2, [4, 1], 1:-1, 1:-1])
    np.testing.assert_array_equal(cut.magnitudes, np.stack([table["mag_z"], table["mag_g"]], axis=1)[:2])


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_model_says_bands_size_and_scale(folder, kind):
    facts = {"bands": list("griz"), "pixel_scale": 0.262}
    if kind == "safetensors":
        config = dataclasses.replace(TINY, bands=4, image_size=48)
        save(folder / "m.safetensors", random_model(config), training_data=TrainingData.from_dict(facts))
    else:
        import onnx

        exported(folder / "m.onnx", OwnModel(bands=4), shapes=[(2, 4, 48, 48), (2, 4)])
        model = onnx.load(folder / "m.onnx")
        onnx.helper.set_model_props(model, {"training_data": json.dumps(facts)})
        onnx.save(model, folder / "m.onnx")
    images, _ = write_raw(folder, "griz", 48, 0.262, "cube that says nothing")
    assert main(["ingest", "raw", "--to", "parts", "--model", f"m.{kind}", "--workers", "1"]) == 0
    part = open_partition(folder / "parts" / "1.pt", "1.pt")
    assert (part.image_shape, part.facts.pixel_scale) == ((4, 48, 48), 0.262)
    np.testing.assert_array_equal(part.images, images[:, :, 1:-1, 1:-1])


def test_survey_in_one_file_gives_other_bands_and_sizes(folder, survey):
    bands, side, scale = survey
    images, table = images_of(COUNT, side + 2, bands=bands), table_of(COUNT, bands=bands)
    magnitudes = np.stack([table[f"mag_{band}"] for band in bands], axis=1)
    np.savez(folder / "s.npz", images=images, mags=magnitudes, z_spec=np.asarray(table["z_spec"]), pixel_scale=scale)
    words = ["--take", ",".join(bands) + ",", "--cutout", str(side), "--scale", str(scale)]
    assert main(["partition", "s.npz", "--samples", "2", "--to", "parts", *words]) == 0
    part = open_partition(folder / "parts" / "1.pt", "1.pt")
    assert (tuple(part.bands), part.facts.pixel_scale) == (bands, scale)
    np.testing.assert_array_equal(part.images, images[:2, :, 1:-1, 1:-1])
    assert main(["partition", "parts/1.pt", "--samples", "1", "--to", "again", "--scale", str(scale)]) == 0
    again = open_partition(folder / "again" / "2.pt", "2.pt")
    np.testing.assert_array_equal(again.images, part.images[1:2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "magnitudes in g r i z (mag_g, ...) and none in u: the model takes u g r i z"),
        (["--take", "grizy"], "and none in y: the model takes g r i z y; name five columns"),
        (["--take", "gg"], "--take must name bands, each once, as griz or VIS,Y,J,H, not 'gg'"),
        (["--take", ""], "--take must name bands"),
        (["--take", "griz", "--cutout", "7"], "--cutout must be from 8 to 1024 pixels a side, not 7"),
        (["--take", "griz", "--cutout", "40"], "is 34 x 34 pixels; 40 x 40 are needed"),
        (["--take", "griz", "--bands", "gri"], "--bands names g r i and the partitions are to get g r i z"),
        (
            ["--take", "griz", "--magnitudes", "mag_g,mag_r"],
            "--magnitudes must name four columns, in the order g,r,i,z",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_writes_nothing(folder, capsys, words, message):
    write_raw(folder, "griz", 32, 0.396, "cube that says nothing")
    before = snapshot(folder)
    assert main(["ingest", "raw", "--to", "parts", "--workers", "1", *words]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert snapshot(folder) == before


def test_inspect_holds_a_cutout_against_the_model_that_is_named(folder, capsys):
    config = dataclasses.replace(TINY, bands=4, image_size=32)
    facts = TrainingData(bands=tuple("griz"), pixel_scale=0.262)
    save(folder / "m.safetensors", random_model(config), training_data=facts)
    write_raw(folder, "griz", 32, 0.3, "cube that says nothing")
    assert main(["inspect", "raw/J0000.fits", "--model", "m.safetensors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "its pixels are 0.3 arcseconds wide and those of m.safetensors are 0.262" in found["doubts"]
    assert found["taken"] == {"image": "the bands g r i z"}
    assert main(["inspect", "raw/objects.fits", "--take", "griz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["rows with plausible magnitudes"] == "3 of 3"


def test_image_of_one_band_that_names_another_is_refused(folder, capsys):
    write_raw(folder, "gr", 32, 0.396, "a file a band")
    with fits.open(folder / "raw" / "J0001_g.fits", mode="update") as file:
        file[0].header["FILTER"] = "z"
    assert main(["ingest", "raw", "--to", "parts", "--take", "gr", "--workers", "1"]) == 2
    assert "is the file of the band g and its header says z" in capsys.readouterr().err.replace("\n", " ")
