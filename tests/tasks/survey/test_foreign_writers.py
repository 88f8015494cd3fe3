"""Files that STILTS and fitsio wrote, where they are installed, are read as the same objects and pixels."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.table import Table

from inference.errors import BadInput
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions, read_cutout
from tasks.survey.object_table import read_objects
from tests.tasks.survey.test_table_forms import IDS, MAGNITUDES, RA, REDSHIFTS, columns

needs_stilts = pytest.mark.skipif(
    shutil.which("stilts") is None, reason="needs Debian's stilts: apt-get install stilts"
)


def stilts(folder, form):
    Table(columns() | {"note": ["a b", "", "c,d", "e"]}).write(folder / "t.fits", overwrite=True)
    order = ["stilts", "tcopy", f"in={folder / 't.fits'}", f"out={folder / 'out'}", f"ofmt={form}"]
    subprocess.run(order, check=True, capture_output=True, timeout=120)
    return folder / "out"


@needs_stilts
@pytest.mark.parametrize(
    "form",
    [
        "votable(format=BINARY)",
        "votable(format=BINARY2)",
        "fits-plus",
        pytest.param("fits-var", marks=pytest.mark.slow),
        pytest.param("votable(format=TABLEDATA)", marks=pytest.mark.slow),
        "ascii",
        "ipac",
        pytest.param("ecsv", marks=pytest.mark.slow),
        pytest.param("csv", marks=pytest.mark.slow),
    ],
)
def test_tables_of_stilts_hold_the_same_objects(tmp_path, form):
    objects = read_objects(stilts(tmp_path, form), tmp_path, ColumnOptions())
    assert objects.ids.tolist() == IDS
    np.testing.assert_array_equal(objects.magnitudes, MAGNITUDES)
    np.testing.assert_array_equal(objects.redshifts, REDSHIFTS)
    np.testing.assert_array_equal(objects.ra, RA)


@needs_stilts
@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("colfits-basic", "holds a whole column in each cell of one row .colfits.: turn it with stilts tcopy"),
        ("votable(format=FITS)", "is a VOTable that holds its rows as FITS, which is not read: save it in another"),
        pytest.param("latex", "is LaTeX, which is set for people to read: save the table as", marks=pytest.mark.slow),
        pytest.param("tst", "is no table that is known: its line .* save it as CSV", marks=pytest.mark.slow),
    ],
)
def test_forms_of_stilts_that_are_not_read_name_the_way_on(tmp_path, form, why):
    with pytest.raises(BadInput, match=why):
        read_objects(stilts(tmp_path, form), tmp_path, ColumnOptions())


@pytest.fixture
def fitsio():
    return pytest.importorskip("fitsio", reason="needs fitsio: pip install fitsio")


def test_tables_of_fitsio_hold_the_same_objects(tmp_path, fitsio):
    table = columns()
    for name in "ugriz":
        table.pop(name)
    vectors = {"MODELMAG": MAGNITUDES, "FLAGS": np.zeros((4, 3), "i4"), "NAME": np.array(["a", "bc", "d e", ""], "S8")}
    table |= vectors | {"SPECTRUM": np.array([np.arange(n, dtype="f4") for n in range(1, 5)], dtype=object)}
    fitsio.write(str(tmp_path / "t.fits"), table)
    objects = read_objects(tmp_path / "t.fits", tmp_path, ColumnOptions())
    assert objects.ids.tolist() == IDS
    np.testing.assert_array_equal(objects.magnitudes, MAGNITUDES)
    np.testing.assert_array_equal(objects.redshifts, REDSHIFTS)


@pytest.mark.parametrize("compress", ["rice", "gzip", "gzip_2", "hcompress", "plio"])
def test_images_that_fitsio_packed_hold_the_same_pixels(tmp_path, fitsio, compress):
    planes = np.random.default_rng(0).integers(0, 1000, (5, 40, 40)).astype("i4")
    for band, plane in zip("ugriz", planes, strict=True):
        options = {"extname": f"sdss_{band}", "header": {"BUNIT": "nanomaggy"}, "compress": compress}
        fitsio.write(str(tmp_path / "J1.fits"), plane, **options)
    image, _ = read_cutout([tmp_path / "J1.fits"], PixelOptions())
    np.testing.assert_array_equal(image, planes[:, 4:36, 4:36])
