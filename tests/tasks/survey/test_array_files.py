"""Every form of a survey in one file that docs/inputs.md lists, written by its own library and compared in numbers."""

import dataclasses
import json
import os
import pickle

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from astropy.io import fits
from astropy.table import Table
from torch.utils.data import Subset, TensorDataset

from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput
from inference.partitions.partition import write_partition
from tasks.survey.array_files import check_scale, open_arrays
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions
from tasks.survey.inspect_file import inspect_file
from tasks.survey.units import nanomaggies
from tests.support.surveys import random_survey

N = 12
IMAGES, MAGNITUDES, REDSHIFTS = random_survey(N)
LARGE = np.random.default_rng(1).normal(size=(N, 5, 64, 64)).astype(np.float32)
LARGE[:, :, 16:48, 16:48] = IMAGES
TENSORS = [torch.from_numpy(array) for array in (IMAGES, MAGNITUDES, REDSHIFTS)]
ARRAYS = {"images": IMAGES, "magnitudes": MAGNITUDES, "redshifts": REDSHIFTS}


def saved(thing, **options):
    return lambda path: torch.save(thing, path, **options)


def halves(dtype):
    return saved(TensorDataset(TENSORS[0].to(dtype), TENSORS[1], TENSORS[2]))


def channels_last():
    return TENSORS[0].permute(0, 2, 3, 1).contiguous()


def hdf5(**names):
    def write(path):
        with h5py.File(path, "w") as file:
            for name, values in names.items():
                file[name] = values

    return write


def mmu(path, bands=("g", "r", "i", "z", "u"), scale=0.396):
    order = ["ugriz".index(band) for band in bands]
    columns = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")}
    with h5py.File(path, "w") as file:
        file["image_array"] = IMAGES[:, order]
        file["image_band"] = np.array([[f"sdss-{band}".encode() for band in bands]] * N)
        file["image_scale"] = np.full((N, 5), scale)
        file["image_ivar"] = np.ones_like(IMAGES)
        file["object_id"] = np.arange(N)
        file["Z"] = REDSHIFTS
        for name, values in columns.items():
            file[name] = values


def parquet(path, images=None, **columns):
    flat = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")} | {"redshift": REDSHIFTS}
    lists = pa.array((IMAGES if images is None else images).tolist(), pa.list_(pa.list_(pa.list_(pa.float32()))))
    pq.write_table(pa.table({"image": lists} | flat | columns), path)


def arrow(write):
    """The table of `parquet` by another writer of Arrow."""

    def write_table(path):
        parquet(path.with_suffix(".first"))
        write(pq.read_table(path.with_suffix(".first")), path)

    return write_table


def stream(table, path):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def folder(table, path):
    path.mkdir()
    pq.write_table(table.slice(0, 5), path / "part-0.parquet")
    pq.write_table(table.slice(5), path / "part-1.parquet")


def hats(table, path):
    pixels = path / "dataset" / "Norder=0" / "Dir=0"
    pixels.mkdir(parents=True)
    pq.write_table(table, pixels / "Npix=1.parquet")
    (path / "hats.properties").write_text("obs_collection=ours\n")


def parquet_of_structures(path):
    rows = [
        {"band": list("zirgu"), "flux": image[::-1].tolist(), "scale": [0.396] * 5} for image in IMAGES.astype(float)
    ]
    columns = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")} | {"z_spec": REDSHIFTS}
    pq.write_table(pa.table({"image": pa.array(rows)} | columns), path)


SAMPLES = list(zip(*TENSORS, strict=True))
FORMS = {
    "a data set": saved(TensorDataset(*TENSORS)),
    "a data set in the format before torch 1.6": saved(TensorDataset(*TENSORS), _use_new_zipfile_serialization=False),
    "a tuple": saved(tuple(TENSORS)),
    "a list in another order": saved([TENSORS[1], TENSORS[2], TENSORS[0]]),
    "a dict of tensors": saved(dict(zip(ARRAYS, TENSORS, strict=True))),
    "a dict of numpy arrays": saved(ARRAYS),
    "a dict of other customary names": saved({"X": 1, "image": IMAGES, "mags": MAGNITUDES, "z_spec": REDSHIFTS}),
    "a dict in a dict": saved({"data": dict(zip(ARRAYS, TENSORS, strict=True)), "epoch": 3}),
    "a list of samples": saved(SAMPLES),
    "a list of samples with plain redshifts": saved([(image, mags, float(z)) for image, mags, z in SAMPLES]),
    "a list of dicts": saved([dict(zip(ARRAYS, sample, strict=True)) for sample in SAMPLES]),
    "a list of numpy samples": saved(list(zip(IMAGES, MAGNITUDES, REDSHIFTS, strict=True))),
    "a subset": saved(Subset(TensorDataset(*(torch.cat([t, t]) for t in TENSORS)), list(range(N, 2 * N)))),
    "a subset of a subset": saved(
        Subset(Subset(TensorDataset(*(torch.cat([t, t]) for t in TENSORS)), range(2 * N)), np.arange(N))
    ),
    "bands last": saved(TensorDataset(channels_last(), *TENSORS[1:])),
    "permuted": saved(TensorDataset(channels_last().permute(0, 3, 1, 2), *TENSORS[1:])),
    "every second galaxy": saved(TensorDataset(*(torch.repeat_interleave(t, 2, 0)[::2] for t in TENSORS))),
    "float64": halves(torch.float64),
    "parameters": saved(TensorDataset(torch.nn.Parameter(TENSORS[0]), *TENSORS[1:])),
    "64 x 64": saved(TensorDataset(torch.from_numpy(LARGE), *TENSORS[1:])),
    "redshifts as (N, 1)": saved(TensorDataset(*TENSORS[:2], TENSORS[2][:, None])),
    "an .npz": lambda path: np.savez(path.open("wb"), **ARRAYS),
    "a packed .npz": lambda path: np.savez_compressed(path.open("wb"), image=IMAGES, mag=MAGNITUDES, z=REDSHIFTS),
    "safetensors": lambda path: safetensors.numpy.save_file(ARRAYS, path),
    "safetensors under other names": lambda path: safetensors.numpy.save_file(
        {"image": IMAGES, "mags": MAGNITUDES, "z": REDSHIFTS}, path
    ),
    "HDF5": hdf5(images=IMAGES, magnitudes=MAGNITUDES, redshifts=REDSHIFTS),
    "HDF5 as MultimodalUniverse": mmu,
    "Parquet with nested lists": parquet,
    "Parquet with structures": parquet_of_structures,
    "a folder of Parquet": arrow(folder),
    "a HATS catalogue": arrow(hats),
    "Feather": arrow(pyarrow.feather.write_feather),
    "a stream of Arrow": arrow(stream),
}


def read(path, **options):
    galaxies = open_arrays(path, **options)
    batches = list(galaxies.batches(5))
    assert [batch.start for batch in batches] == list(range(0, len(galaxies), 5))
    return [np.concatenate([getattr(batch, name) for batch in batches]) for name in ARRAYS], galaxies.notes


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read_as_the_same_galaxies(tmp_path, form):
    FORMS[form](tmp_path / "survey")
    (images, magnitudes, redshifts), _ = read(tmp_path / "survey")
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(magnitudes, MAGNITUDES)
    np.testing.assert_array_equal(redshifts, REDSHIFTS)


@pytest.mark.parametrize(
    "write",
    [
        saved({"images": IMAGES[:, ::-1].copy(), "magnitudes": MAGNITUDES, "bands": "zirgu"}),
        saved({"images": TENSORS[0].flip(1), "magnitudes": MAGNITUDES, "bands": list("zirgu"), "scale": 0.396}),
        lambda p: np.savez(p.open("wb"), images=IMAGES[:, ::-1], magnitudes=MAGNITUDES, bands=np.array(list("zirgu"))),
    ],
)
def test_the_order_of_bands_that_stands_beside_the_arrays_counts(tmp_path, write):
    write(tmp_path / "survey")
    np.testing.assert_array_equal(next(open_arrays(tmp_path / "survey").batches(N)).images, IMAGES)


def test_the_scale_that_stands_beside_the_arrays_is_compared(tmp_path):
    torch.save({"images": IMAGES, "magnitudes": MAGNITUDES, "pixel_scale": 0.262}, tmp_path / "s.pt")
    mmu(tmp_path / "s.hdf5", scale=0.262)
    write_partition(tmp_path / "s.safetensors", *ARRAYS.values(), SurveyFacts(pixel_scale=0.262))
    for name in ("s.pt", "s.hdf5", "s.safetensors"):
        galaxies = open_arrays(tmp_path / name)
        with pytest.raises(BadInput, match=r"has pixels of 0.262 arcseconds and the demo model's are 0.396"):
            check_scale(galaxies, PixelOptions())
        check_scale(galaxies, PixelOptions(scale=0.262))
        assert galaxies.facts.pixel_scale == 0.262


class TestFacts:
    """What a file says of its survey stays true of what is made of it."""

    FACTS = SurveyFacts(bands=tuple("ugriz"), pixel_scale=0.396, pixel_unit="uJy", magnitude_system="AB")
    MADE = dataclasses.replace(FACTS, pixel_unit="nanomaggy")

    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    @pytest.mark.parametrize(
        ("mapping", "options"),
        [({}, {}), ({}, {"unit": "uJy"}), ({}, {"bands": "ugriz"}), ({"images": "images"}, {"unit": "uJy"})],
    )
    def test_facts_stay_with_whatever_option(self, tmp_path, suffix, mapping, options):
        path = tmp_path / f"s{suffix}"
        write_partition(path, *ARRAYS.values(), self.FACTS)
        galaxies = open_arrays(path, mapping, PixelOptions(**options))
        assert galaxies.facts == self.MADE
        found = next(galaxies.batches(N)).images
        np.testing.assert_allclose(found, IMAGES * np.float32(nanomaggies("uJy", "")), rtol=1e-6)

    def test_facts_of_tensors_under_other_names_stay(self, tmp_path):
        metadata = {"cosmic": self.FACTS.to_json()}
        safetensors.numpy.save_file({"a": IMAGES, "magnitudes": MAGNITUDES}, tmp_path / "s", metadata)
        assert open_arrays(tmp_path / "s", {"images": "a"}).facts == self.MADE

    @pytest.mark.parametrize(("asked", "order"), [(None, [4, 3, 2, 1, 0]), ("ugriz", [0, 1, 2, 3, 4])])
    def test_bands_in_another_order_are_put_right(self, tmp_path, asked, order):
        facts = dataclasses.replace(self.FACTS, bands=tuple("zirgu"), pixel_unit=None)
        write_partition(tmp_path / "s.pt", *ARRAYS.values(), facts)
        galaxies = open_arrays(tmp_path / "s.pt", pixels=PixelOptions(bands=asked))
        batch = next(galaxies.batches(N))
        np.testing.assert_array_equal(batch.images, IMAGES[:, order])
        np.testing.assert_array_equal(batch.magnitudes, MAGNITUDES[:, ::-1])
        assert galaxies.facts.bands == tuple("ugriz")

    def test_bands_that_no_model_of_ours_takes_stay_named(self, tmp_path):
        write_partition(tmp_path / "s.pt", *ARRAYS.values(), SurveyFacts(bands=tuple("grizy")))
        assert open_arrays(tmp_path / "s.pt").facts.bands == tuple("grizy")

    def test_nothing_is_said_where_nothing_is_known(self, tmp_path):
        write_partition(tmp_path / "s.pt", *ARRAYS.values())
        assert open_arrays(tmp_path / "s.pt").facts is None
        assert open_arrays(tmp_path / "s.pt", pixels=PixelOptions(unit="nanomaggy")).facts.pixel_unit == "nanomaggy"

    def test_inspect_shows_them(self, tmp_path):
        write_partition(tmp_path / "s.pt", *ARRAYS.values(), dataclasses.replace(self.FACTS, pixel_scale=0.262))
        found = inspect_file(tmp_path / "s.pt", ColumnOptions(), PixelOptions(), {})
        assert found.facts["bands"] == "u g r i z"
        assert found.facts["pixel scale"] == "0.262 arcseconds"
        assert any("has pixels of 0.262 arcseconds" in doubt for doubt in found.doubts)


REVERSED = ARRAYS | {"images": IMAGES[:, ::-1].copy()}


class TestStated:
    """What a file states beside its arrays, by whatever customary name, counts."""

    @pytest.mark.parametrize(
        "beside",
        [
            {"bands": "zirgu"},
            {"band_names": list("zirgu")},
            {"Filters": "sdss_z, sdss_i, sdss_r, sdss_g, sdss_u"},
            {"channels": np.array(list("zirgu"), dtype="S1")},
        ],
        ids=lambda beside: next(iter(beside)),
    )
    @pytest.mark.parametrize("form", ["pt", "npz", "hdf5"])
    def test_bands_are_put_in_order(self, tmp_path, beside, form):
        path = tmp_path / f"s.{form}"
        if form == "pt":
            beside = {
                key: value.astype(str) if isinstance(value, np.ndarray) else value for key, value in beside.items()
            }
            beside = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in beside.items()}
            torch.save(REVERSED | beside, path)
        elif form == "npz":
            np.savez(path, **REVERSED, **beside)
        else:
            with h5py.File(path, "w") as file:
                for name, values in REVERSED.items():
                    file[name] = values
                file.attrs.update(beside)
        galaxies = open_arrays(path)
        np.testing.assert_array_equal(next(galaxies.batches(N)).images, IMAGES)
        assert galaxies.facts.bands == tuple("ugriz")

    def test_metadata_of_safetensors_count(self, tmp_path):
        metadata = {"bands": "zirgu", "pixel_scale": "0.262", "unit": "uJy"}
        safetensors.numpy.save_file(REVERSED, tmp_path / "s", metadata)
        galaxies = open_arrays(tmp_path / "s")
        assert galaxies.facts == SurveyFacts(bands=tuple("ugriz"), pixel_scale=0.262, pixel_unit="nanomaggy")
        expected = IMAGES * np.float32(nanomaggies("uJy", ""))
        np.testing.assert_allclose(next(galaxies.batches(N)).images, expected, rtol=1e-6)

    @pytest.mark.parametrize("name", ["unit", "pixel_unit", "BUNIT"])
    def test_the_unit_is_converted(self, tmp_path, name):
        torch.save({"images": IMAGES, "magnitudes": MAGNITUDES, name: "uJy"}, tmp_path / "s")
        assert open_arrays(tmp_path / "s").factor == pytest.approx(nanomaggies("uJy", ""))

    @pytest.mark.parametrize("scale", [0.262, np.float64(0.262), torch.tensor(0.262), "0.262"])
    def test_the_scale_may_be_any_number(self, tmp_path, scale):
        torch.save({"images": IMAGES, "magnitudes": MAGNITUDES, "pixel_scale": scale}, tmp_path / "s")
        assert open_arrays(tmp_path / "s").facts.pixel_scale == pytest.approx(0.262)


def test_magnitudes_may_be_arrays_of_a_band_each(tmp_path):
    columns = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")}
    ids = np.array(["a"] * N, dtype=object)
    np.savez(tmp_path / "s.npz", images=IMAGES, redshift=REDSHIFTS, ids=ids, **columns)
    batch = next(open_arrays(tmp_path / "s.npz").batches(N))
    np.testing.assert_array_equal(batch.magnitudes, MAGNITUDES)
    np.testing.assert_array_equal(batch.redshifts, REDSHIFTS)


def test_arrays_may_lie_one_dict_deeper(tmp_path):
    torch.save({"data": dict(zip(ARRAYS, TENSORS, strict=True)), "config": {"seed": 1}}, tmp_path / "s")
    np.testing.assert_array_equal(next(open_arrays(tmp_path / "s").batches(N)).images, IMAGES)


def test_groups_of_hdf5_are_a_choice(tmp_path):
    with h5py.File(tmp_path / "s", "w") as file:
        for group, shift in (("train", 0), ("test", 1)):
            for name, values in ARRAYS.items():
                file[f"{group}/{name}"] = values + np.float32(shift)
    with pytest.raises(BadInput, match=r"holds test/images, train/images: choose a group with --hdu"):
        open_arrays(tmp_path / "s")
    galaxies = open_arrays(tmp_path / "s", columns=ColumnOptions(hdu="test"))
    np.testing.assert_array_equal(next(galaxies.batches(N)).images, IMAGES + 1)


def test_a_structure_of_each_band_is_read(tmp_path):
    image = [
        [{"band": f"sdss-{b}", "flux": IMAGES[n][k].tolist()} for k, b in enumerate("ugriz")][::-1] for n in range(N)
    ]
    flat = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")} | {"redshift": REDSHIFTS}
    pq.write_table(pa.table(flat | {"image": pa.array(image)}), tmp_path / "s")
    np.testing.assert_array_equal(next(open_arrays(tmp_path / "s").batches(N)).images, IMAGES)


def test_tensors_of_one_shape_in_a_column_are_read(tmp_path):
    flat = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")} | {"redshift": REDSHIFTS}
    pq.write_table(pa.table(flat | {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(IMAGES)}), tmp_path / "s")
    np.testing.assert_array_equal(next(open_arrays(tmp_path / "s").batches(N)).images, IMAGES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_half_precision_is_read_within_its_rounding(tmp_path, dtype, form):
    tensors = {name: tensor.to(dtype) for name, tensor in zip(ARRAYS, TENSORS, strict=True)}
    if form == "pt":
        torch.save(TensorDataset(*tensors.values()), tmp_path / "survey")
    else:
        safetensors.torch.save_file(tensors, tmp_path / "survey")
    found, _ = read(tmp_path / "survey")
    for values, tensor in zip(found, tensors.values(), strict=True):
        np.testing.assert_array_equal(values, tensor.float().numpy())


@pytest.mark.parametrize(
    ("form", "note"),
    [
        ("64 x 64", "images of 64 x 64 pixels are cropped to their central 32 x 32"),
        ("bands last", "the bands come last in the images and are put first"),
        ("float64", "images are float64 and become float32"),
        ("safetensors under other names", "images from image"),
        ("HDF5 as MultimodalUniverse", "redshift from Z"),
        ("Parquet with nested lists", "u magnitude from mag_u"),
    ],
)
def test_what_was_done_to_a_form_is_said(tmp_path, form, note):
    FORMS[form](tmp_path / "survey")
    assert note in read(tmp_path / "survey")[1]


def test_names_given_count_before_customary_ones(tmp_path):
    safetensors.numpy.save_file({"a": IMAGES, "images": IMAGES + 1, "b": MAGNITUDES}, tmp_path / "s")
    galaxies = open_arrays(tmp_path / "s", {"images": "a", "magnitudes": "b"})
    np.testing.assert_array_equal(next(galaxies.batches(N)).images, IMAGES)
    assert "no redshifts were found: --map redshifts=NAME names them" in galaxies.notes


@pytest.mark.parametrize(
    ("write", "mapping", "why"),
    [
        (
            lambda p: np.savez(p.open("wb"), a=IMAGES, b=MAGNITUDES),
            {},
            r"has no images: name .* --map images",
        ),
        (lambda p: np.savez(p.open("wb"), a=IMAGES), {"images": "b"}, r"has no array 'b' \(--map\); it has a"),
        (lambda p: np.savez(p.open("wb"), a=IMAGES), {"pictures": "a"}, "--map knows images, magnitudes and redshifts"),
        (lambda p: np.savez(p.open("wb"), Image=IMAGES, IMAGE=IMAGES), {}, r"each of which could be the images"),
        (saved({"images": IMAGES[:, :4], "magnitudes": MAGNITUDES}), {}, "images must have 5 bands"),
        (saved({"images": IMAGES, "magnitudes": MAGNITUDES[:5]}), {}, r"magnitudes must have the shape \(12, 5\)"),
        (lambda p: np.savez(p.open("wb"), images=IMAGES, mag=MAGNITUDES > 1), {}, "magnitudes hold bool, which are no"),
        (saved([torch.zeros(3, 3)]), {}, "holds arrays of the shapes"),
        (saved({"images": IMAGES, "mags": MAGNITUDES, "labels": torch.arange(N)}), {}, "rather classes than redshifts"),
        (saved({"images": TENSORS[0].byte(), "mags": MAGNITUDES}), {}, "images hold bytes, as pictures for display do"),
        (
            lambda p: fits.PrimaryHDU().writeto(p),
            {},
            "no table with a column of images: .* cosmic ingest takes",
        ),
        (
            lambda p: p.write_bytes(pickle.dumps([IMAGES])),
            {},
            "a pickle that torch.save did not write, and is not run: sa",
        ),
        (saved("text"), {}, "holds str, and no arrays of galaxies"),
        (saved(torch.nn.Linear(2, 2)), {}, r"wants torch.nn.modules.linear.Linear, which is refused and was not run"),
        (hdf5(a=IMAGES, b=IMAGES), {}, "holds a, b: name the images with --map"),
        (hdf5(a=REDSHIFTS), {}, "holds no data set of four axes"),
        (lambda p: mmu(p, bands=("g", "r", "i", "z", "z")), {}, "has images in g r i z z; the model takes u g r i z"),
        (
            lambda p: pyarrow.feather.write_feather(pa.table({"objid": [1]}), p),
            {},
            "holds no column of images: .*; a table of objects and its cut-outs in FITS are for cosmic ingest",
        ),
        (lambda p: p.write_bytes(b"neither"), {}, "is neither .*; cosmic inspect .* says what it is"),
    ],
)
def test_what_will_not_do_is_refused_in_one_sentence(tmp_path, write, mapping, why):
    write(tmp_path / "survey")
    with pytest.raises(BadInput, match=why) as caught:
        list(open_arrays(tmp_path / "survey", mapping).batches(5))
    assert "\n" not in str(caught.value)


class Hostile:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_that_would_run_a_command_is_refused_and_nothing_runs(tmp_path, new):
    canary = tmp_path / "canary"
    torch.save({"images": TENSORS[0], "x": Hostile(canary)}, tmp_path / "s.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(BadInput, match=r"posix\.system, which is refused and was not run"):
        open_arrays(tmp_path / "s.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Hostile(canary), protocol=2))
    with pytest.raises(BadInput):
        open_arrays(tmp_path / "p.pt")
    assert not canary.exists()


def test_hdf5_that_refers_to_another_file_is_refused(tmp_path):
    hdf5(images=IMAGES)(tmp_path / "other")
    with h5py.File(tmp_path / "survey", "w") as file:
        file["images"] = h5py.ExternalLink("other", "images")
    with pytest.raises(BadInput, match=r"refers to another file, which is not read"):
        open_arrays(tmp_path / "survey")


def test_without_torch_the_way_on_is_said(tmp_path, monkeypatch):
    saved(ARRAYS)(tmp_path / "s.pt")
    saved(TensorDataset(*TENSORS))(tmp_path / "plain.pt")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(BadInput, match=r"needs torch, .*pip install 'cosmic-flows\[train\]'"):
        open_arrays(tmp_path / "s.pt")
    assert len(open_arrays(tmp_path / "plain.pt")) == N


class TestGalaxiesThatCannotBeUsed:
    @pytest.fixture
    def galaxies(self, tmp_path):
        images, magnitudes = IMAGES.copy(), MAGNITUDES.copy()
        magnitudes[3, 1], magnitudes[7, 0], images[5, 2], images[9, 0, 0, 0] = -9999, 99, 0, np.nan
        np.savez(tmp_path / "s.npz", images=images, magnitudes=magnitudes, redshifts=REDSHIFTS)
        return open_arrays(tmp_path / "s.npz")

    def test_are_named_and_refused(self, galaxies):
        with pytest.raises(BadInput) as caught:
            galaxies.usable()
        for each in (
            "4 of 12 galaxies of",
            'sample 3: an implausible magnitude: g is -9999, which means "not measured"',
            "sample 5: its band r is 0 in every pixel",
            "sample 9: NaN or infinite pixels",
            "--skip-bad",
            "--take-blank",
        ):
            assert each in str(caught.value)

    def test_are_left_out_when_asked(self, galaxies):
        left, bad = galaxies.usable(skip_bad=True)
        assert sorted(bad) == [3, 5, 7, 9]
        assert len(left) == 8
        kept = [row for row in range(N) if row not in bad]
        found = np.concatenate([batch.images for batch in left.batches(3)])
        np.testing.assert_array_equal(found, IMAGES[kept])
        assert sorted(galaxies.usable(skip_bad=True, take_blank=True)[1]) == [3, 7, 9]


def test_another_unit_of_the_pixels_is_converted(tmp_path):
    np.savez(tmp_path / "s.npz", **ARRAYS)
    found = next(open_arrays(tmp_path / "s.npz", pixels=PixelOptions(unit="nJy")).batches(N)).images
    np.testing.assert_allclose(found, IMAGES / 3630.78, rtol=1e-5)


def test_safetensors_whose_tensors_share_bytes_are_refused(tmp_path):
    safetensors.numpy.save_file(ARRAYS, tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for entry in header.values():
        begin, end = entry["data_offsets"]
        entry["data_offsets"] = [0, end - begin]
    text = json.dumps(header).encode()
    (tmp_path / "s").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(BadInput, match="two tensors share bytes"):
        open_arrays(tmp_path / "s")


class TestAFitsTableWithImages:
    def write(self, path, images, unit="nanomaggy"):
        table = Table({"objid": np.arange(N)} | images)
        for name in images:
            table[name].unit = unit
        for place, band in enumerate("ugriz"):
            table[f"mag_{band}"] = MAGNITUDES[:, place]
        table["z_spec"] = REDSHIFTS
        table.write(path, format="fits")

    def check(self, path, factor=1.0):
        galaxies = open_arrays(path)
        (batch,) = galaxies.batches(N)
        np.testing.assert_allclose(batch.images, IMAGES * np.float32(factor), rtol=1e-6)
        np.testing.assert_array_equal(batch.magnitudes, MAGNITUDES)
        np.testing.assert_array_equal(batch.redshifts, REDSHIFTS)
        assert inspect_file(path, ColumnOptions(), PixelOptions(), {}).form == "a survey in one file"

    def test_takes_a_column_of_cubes(self, tmp_path):
        self.write(tmp_path / "t.fits", {"IMAGE": IMAGES, "PSF": IMAGES[:, :, :9, :9]})
        self.check(tmp_path / "t.fits")

    def test_takes_a_column_a_band_and_its_unit(self, tmp_path):
        self.write(tmp_path / "t.fits", {f"cutout_{b}": IMAGES[:, "ugriz".index(b)] for b in "zgriu"}, "nJy")
        self.check(tmp_path / "t.fits", nanomaggies("nJy", "here"))

    def test_refuses_two_columns_that_could_be_the_images(self, tmp_path):
        self.write(tmp_path / "t.fits", {"a": IMAGES, "b": IMAGES})
        with pytest.raises(BadInput, match="holds a, b: cosmic partition takes a FITS table with one column of images"):
            open_arrays(tmp_path / "t.fits")


@pytest.mark.parametrize(
    ("redshifts", "said"),
    [
        (1 + REDSHIFTS, "every value of the redshifts is above 1, with a median of 1"),
        ((REDSHIFTS - REDSHIFTS.mean()) / REDSHIFTS.std(), "values of the redshifts are no redshifts, such as -"),
    ],
)
def test_redshifts_that_look_as_something_else_are_said(tmp_path, redshifts, said):
    np.savez(tmp_path / "s.npz", images=IMAGES, magnitudes=MAGNITUDES, redshifts=redshifts)
    assert said in " ".join(open_arrays(tmp_path / "s.npz").usable()[0].notes)


@pytest.mark.parametrize("form", ["hdf5", "npz"])
def test_pictures_without_magnitudes_are_called_so(tmp_path, form):
    pictures = {"images": np.zeros((N, 69, 69, 3), np.uint8), "ans": np.zeros(N, np.uint8), "redshift": REDSHIFTS}
    if form == "npz":
        np.savez((tmp_path / "survey").open("wb"), **pictures)
    else:
        hdf5(**pictures)(tmp_path / "survey")
    why = (
        rf"pictures for display do \(images \({N}, 69, 69, 3\)\), which are no fluxes, and has no magnitudes: the model"
    )
    with pytest.raises(BadInput, match=why):
        open_arrays(tmp_path / "survey")
    if form == "hdf5":
        assert any(
            "pictures" in doubt
            for doubt in inspect_file(tmp_path / "survey", ColumnOptions(), PixelOptions(), {}).doubts
        )


def test_lists_of_numbers_beside_tensors_are_arrays(tmp_path):
    saved({"images": TENSORS[0], "mags": MAGNITUDES.tolist(), "z": REDSHIFTS.tolist()})(tmp_path / "survey")
    arrays, _ = read(tmp_path / "survey")
    for found, there in zip(arrays, (IMAGES, MAGNITUDES, REDSHIFTS), strict=True):
        np.testing.assert_array_equal(found, there)
