import gzip

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.sample import BAND_NAMES as BANDS
from inference.errors import BadInput
from tasks.survey import fits_images
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import Chunk, PixelOptions, read_cutouts
from tasks.survey.cutouts import read_cutout as read
from tasks.survey.inspect_file import inspect_file
from tests.support.fits_survey import images_of, write_bands, write_cube, write_extensions

IMAGE = images_of(1)[0]
MIDDLE = IMAGE[:, 16:48, 16:48]


def read_cutout(paths, **options):
    return read(paths, PixelOptions(**options))[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "J0001.fits"


class TestAnObject:
    def test_of_one_cube_is_cropped_about_its_centre(self, path):
        write_cube(path, IMAGE)
        cutout = read_cutout([path])
        assert cutout.dtype == np.float32
        np.testing.assert_array_equal(cutout, MIDDLE)

    def test_of_five_files_has_them_in_the_order_of_the_bands(self, tmp_path):
        write_bands(tmp_path, "J", IMAGE)
        np.testing.assert_array_equal(read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS]), MIDDLE)

    @pytest.mark.parametrize("keyword", ["EXTNAME", "FILTER", "BAND"])
    def test_of_five_extensions_has_them_by_name_whatever_their_order(self, path, keyword):
        write_extensions(path, IMAGE[::-1], keyword, BANDS[::-1])
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)

    def test_of_a_cube_that_names_its_planes_has_them_put_in_order(self, path):
        write_cube(path, IMAGE[[3, 2, 1, 0, 4, 4]], BANDS="irguzy")
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)
        write_cube(path, IMAGE[::-1])
        np.testing.assert_array_equal(read_cutout([path], bands="zirgu"), MIDDLE)

    def test_of_five_files_may_have_an_axis_of_one_plane(self, tmp_path):
        write_bands(tmp_path, "J", IMAGE[:, None])
        np.testing.assert_array_equal(read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS]), MIDDLE)

    def test_of_the_right_size_already_is_taken_as_it_is(self, path):
        write_cube(path, MIDDLE)
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)

    def test_may_be_compressed(self, tmp_path):
        write_cube(tmp_path / "J.fits.gz", IMAGE)
        np.testing.assert_array_equal(read_cutout([tmp_path / "J.fits.gz"]), MIDDLE)
        file = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(IMAGE, compression_type="GZIP_2", quantize_level=0)])
        file[1].header["BUNIT"] = "nmgy"
        file.writeto(tmp_path / "J.fits.fz")
        np.testing.assert_array_equal(read_cutout([tmp_path / "J.fits.fz"]), MIDDLE)

    @given(st.integers(32, 70))
    def test_keeps_its_central_pixel_whatever_its_size(self, tmp_path_factory, side):
        image = np.zeros((5, side, side), np.float32)
        middle = [(side - 1) // 2, side // 2]  # of an odd side the same pixel twice
        image[:, middle, middle] = 1
        file = tmp_path_factory.mktemp("side") / "x.fits"
        write_cube(file, image)
        found = read_cutout([file])[0]
        assert found[16, 16] == 1
        assert found[15:17, 15:17].sum() == image[0].sum()


def hdu_of(image, name="", **cards):
    hdu = fits.ImageHDU(image, name=name)
    hdu.header.update({"BUNIT": "nanomaggy"} | cards)
    return hdu


NOISE = np.ones((64, 64), np.float32)


class TestWhichImage:
    @pytest.mark.parametrize(
        "name", ["VARIANCE", "MASK", "PSF", "WEIGHT", "ERR", "INVVAR", "IVAR", "DQ", "RMS", "SEGMAP", "BKG", "MODEL"]
    )
    @pytest.mark.parametrize("card", ["EXTNAME", "EXTTYPE", "IMAGETYP"])
    def test_of_one_band_is_science_wherever_it_stands(self, tmp_path, name, card):
        for band, plane in zip(BANDS, IMAGE, strict=True):
            other = hdu_of(NOISE, **{card: name})
            fits.HDUList([fits.PrimaryHDU(), other, hdu_of(plane)]).writeto(tmp_path / f"J_{band}.fits")
        np.testing.assert_array_equal(read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS]), MIDDLE)

    def test_of_a_cube_is_the_one_beside_its_errors(self, path):
        cube = np.ones_like(IMAGE)
        errors = hdu_of(cube, HDUCLAS1="IMAGE", HDUCLAS2="ERROR")
        fits.HDUList([fits.PrimaryHDU(), errors, hdu_of(IMAGE, HDUCLAS2="DATA")]).writeto(path)
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)

    def test_of_each_band_is_the_one_beside_its_mask(self, path):
        planes = [hdu_of(plane, f"SCI_{band}") for band, plane in zip(BANDS, IMAGE, strict=True)]
        masks = [hdu_of(NOISE, f"MASK_{band}") for band in BANDS]
        fits.HDUList([fits.PrimaryHDU(), *masks, *planes]).writeto(path)
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)

    def test_is_a_choice_where_several_could_be_meant(self, path):
        fits.HDUList([fits.PrimaryHDU(), hdu_of(IMAGE, "ONE"), hdu_of(IMAGE + 1, "TWO")]).writeto(path)
        with pytest.raises(BadInput, match=r"holds 2 images \(0 ONE \(5, 64, 64\), 1 TWO .*choose one with --ext"):
            read_cutout([path])
        np.testing.assert_array_equal(read_cutout([path], ext="two"), MIDDLE + 1)
        with pytest.raises(BadInput, match=r"has no image called 'three' \(--ext\)"):
            read_cutout([path], ext="three")

    def test_is_none_where_all_are_errors_and_masks(self, path):
        fits.HDUList([fits.PrimaryHDU(), hdu_of(IMAGE, "VARIANCE")]).writeto(path)
        with pytest.raises(BadInput, match="holds no image of the sky, only 0 VARIANCE"):
            read_cutout([path])
        np.testing.assert_array_equal(read_cutout([path], ext="variance"), MIDDLE)

    def test_of_one_band_is_not_taken_for_another(self, tmp_path):
        write_bands(tmp_path, "J", IMAGE)
        write_cube(tmp_path / "J_g.fits", IMAGE[1], FILTER="r DECam SDSS c0002 6415.0 1480.0")
        with pytest.raises(BadInput, match=r"J_g.fits is the file of the band g and its header says r"):
            read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS])

    @pytest.mark.parametrize("first", [0, 1])
    def test_of_a_cube_has_its_planes_by_numbered_cards(self, path, first):
        cards = {f"BAND{number}": f"sdss_{band}" for number, band in enumerate(reversed(BANDS), first)}
        write_cube(path, IMAGE[::-1], **cards)
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)

    def test_of_a_cube_whose_cards_contradict_each_other_is_refused(self, path):
        write_cube(path, IMAGE, BANDS="ugriz", **{f"BAND{number}": band for number, band in enumerate("zirgu")})
        with pytest.raises(BadInput, match=r"contradicts itself: .* say the order with --bands"):
            read_cutout([path])
        np.testing.assert_array_equal(read_cutout([path], bands="ugriz"), MIDDLE)


def chunk_of(*paths, place=(np.nan, np.nan)):
    return Chunk([3], [tuple(paths)], np.array([place]))


def wcs(scale=0.396, ra=150.0, dec=2.0, **cards):
    pixel = {"CDELT1": -scale / 3600, "CDELT2": scale / 3600, "CRPIX1": 32.5, "CRPIX2": 32.5}
    return pixel | {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec} | cards


class TestTheHeader:
    def test_says_the_scale_that_the_model_was_trained_on(self, path):
        write_cube(path, IMAGE, **wcs(0.396))
        assert read_cutouts(chunk_of(path), PixelOptions()).faults == []
        write_cube(path, IMAGE, **wcs(0.262))
        ((row, why),) = read_cutouts(chunk_of(path), PixelOptions()).faults
        assert row == 3
        assert "its pixels are 0.262 arcseconds wide and the demo model's are 0.396: resample it, or say --sca" in why
        assert read_cutouts(chunk_of(path), PixelOptions(scale=0.262)).rows == [3]

    def test_says_nothing_of_the_scale_which_is_counted(self, path):
        write_cube(path, IMAGE)
        assert read_cutouts(chunk_of(path), PixelOptions()).without_scale == 1

    def test_names_another_scale_than_its_coordinates_which_count_and_is_said(self, path):
        write_cube(path, IMAGE, **wcs(0.396), PIXSCALE=0.262)
        found = read_cutouts(chunk_of(path), PixelOptions())
        assert found.rows == [3]
        (doubt,) = found.doubts
        assert doubt.endswith(
            "its world coordinates say pixels of 0.396 arcseconds, which count, and its card PIXSCALE says 0.262"
        )
        write_cube(path, IMAGE, **wcs(0.396), PIXSCALE=0.4)  # an instrument's nominal scale
        assert read_cutouts(chunk_of(path), PixelOptions()).doubts == ()

    def test_names_a_scale_beside_coordinates_that_make_no_sense(self, path):
        write_cube(path, IMAGE, CD1_1=0.0, CD2_2=0.0, PIXSCALE=0.396)
        assert read_cutouts(chunk_of(path), PixelOptions()).without_scale == 0

    @pytest.mark.parametrize(("ra", "said"), [(150.4, False), (187.7, True), ("10:00:00.0", False), (400.0, False)])
    def test_says_where_the_telescope_pointed_which_is_far_from_the_object(self, path, ra, said):
        write_cube(path, IMAGE, RA=ra, DEC=2.0)
        found = read_cutouts(chunk_of(path, place=(150.0, 2.0)), PixelOptions())
        assert (found.rows, bool(found.doubts)) == ([3], said)
        if said:
            assert "its cards RA and DEC lie 37.7 degrees from the table's 150.00000 +2.00000" in found.doubts[0]
        write_cube(path, IMAGE, **wcs(), RA=ra, DEC=2.0)  # a centre of its own counts
        assert read_cutouts(chunk_of(path, place=(150.0, 2.0)), PixelOptions()).doubts == ()

    def test_says_the_place_that_the_table_has(self, path):
        write_cube(path, IMAGE, **wcs())
        assert read_cutouts(chunk_of(path, place=(150.0005, 2.0005)), PixelOptions()).rows == [3]
        ((_, why),) = read_cutouts(chunk_of(path, place=(150.01, 2.0)), PixelOptions()).faults
        assert "it is centred on 150.00000 +2.00000, 36.0 arcseconds from the table's 150.01000 +2.00000" in why

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"scale": 0.2}, "its bands have pixels of 0.2 and 0.396 arcseconds"),
            ({"ra": 150.01}, "its bands have their centres 36.0 arcseconds apart"),
            ({"EQUINOX": 1950.0}, "its bands lie in different reference frames, FK4 1950.0 and ICRS"),
        ],
    )
    def test_of_one_band_agrees_with_the_others(self, tmp_path, changes, why):
        for band, plane in zip(BANDS, IMAGE, strict=True):
            cards = wcs(**({"EQUINOX": 2000.0} | (changes if band == "i" else {})))
            write_cube(tmp_path / f"J_{band}.fits", plane, **cards)
        with pytest.raises(BadInput, match=why):
            read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS])


class TestBlankBands:
    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda image: image[0].fill(0), "its band u is 0 in every pixel"),
            (lambda image: image[2, -19:].fill(-0.5), "its band r has 3 rows of -0.5 at an edge"),
            (lambda image: image.__setitem__(3, image[1]), "its bands g and i hold the same pixels"),
            (lambda image: image[3].fill(7), "its band i is 7 in every pixel"),
            (lambda image: image[2, :20].fill(0), "its band r has 4 rows of zeros at an edge"),
            (lambda image: image[4, :, 44:].fill(0), "its band z has 4 columns of zeros at an edge"),
        ],
    )
    def test_are_named_and_taken_only_when_asked(self, path, spoil, why):
        image = IMAGE.copy()
        spoil(image)
        write_cube(path, image)
        ((_, message),) = read_cutouts(chunk_of(path), PixelOptions()).faults
        assert message.endswith(f"{why} (--take-blank takes it)")
        assert read_cutouts(chunk_of(path), PixelOptions(take_blank=True)).rows == [3]


class TestUnits:
    @pytest.mark.parametrize(
        ("unit", "factor"),
        [
            ("nanomaggies", 1.0),
            ("nMgy", 1.0),
            ("nmgy", 1.0),
            ("maggy", 1e9),
            ("Jy", 1e9 / 3630.78),
            ("uJy", 1e3 / 3630.78),
            ("nJy", 1 / 3630.78),
        ],
    )
    def test_of_flux_are_converted_by_the_zero_point_of_the_ab_system(self, path, unit, factor):
        write_cube(path, IMAGE * 1e-4, BUNIT=unit)
        np.testing.assert_allclose(read_cutout([path]), factor * 1e-4 * MIDDLE, rtol=1e-5)

    @pytest.mark.parametrize("unit", ["adu", "electron/s", "mag", "K", "bananas", "1e6"])
    def test_of_anything_else_are_refused(self, path, unit):
        write_cube(path, IMAGE, BUNIT=unit)
        with pytest.raises(BadInput, match=rf"J0001.fits has pixels in '{unit}', which is no unit of flux"):
            read_cutout([path])

    def test_that_are_not_stated_have_to_be_given(self, path):
        write_cube(path, IMAGE, BUNIT=None)
        with pytest.raises(BadInput, match=r"does not say in which unit its pixels are \(BUNIT\): name it with --unit"):
            read_cutout([path])
        np.testing.assert_array_equal(read_cutout([path], unit="nanomaggy"), MIDDLE)

    @pytest.mark.parametrize(
        "unit", ["nanomaggies", "nanomaggy/pixel", "nanomaggies/pix", "NMGY", "nmgy pix-1", "nanomaggies per pixel"]
    )
    def test_are_known_in_the_spellings_of_catalogues(self, path, unit):
        write_cube(path, IMAGE, BUNIT=unit)
        np.testing.assert_allclose(read_cutout([path]), MIDDLE, rtol=1e-6)

    def test_that_are_given_count_before_those_of_the_file(self, path):
        write_cube(path, IMAGE, BUNIT="adu")
        np.testing.assert_array_equal(read_cutout([path], unit="nanomaggy"), MIDDLE)


class TestIsRefusedInOneSentence:
    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (IMAGE[:4], r"has the shape \(4, 64, 64\); \(5, height, width\) is needed"),
            (IMAGE.transpose(1, 2, 0), r"\(64, 64, 5\).*its axes are turned: the bands come first"),
            (IMAGE[0], r"holds one image of shape \(64, 64\); five bands are needed"),
            (IMAGE[:, :, :50], r"is 64 x 50 pixels: a cut-out that is not square is not centred on its galaxy"),
            (IMAGE[:, :31, :31], r"is 31 x 31 pixels; 32 x 32 are needed"),
            (np.stack([IMAGE, IMAGE]), r"holds one image of shape"),
        ],
    )
    def test_a_cube_of_another_shape(self, path, image, message):
        write_cube(path, image)
        with pytest.raises(BadInput, match=message):
            read_cutout([path])

    def test_a_cube_that_says_which_bands_it_lacks(self, path):
        write_cube(path, IMAGE[:4], BANDS="griz")
        with pytest.raises(BadInput, match=r"J0001.fits holds the bands 'griz'; u missing"):
            read_cutout([path])

    def test_names_of_planes_that_do_not_fit(self, path):
        write_cube(path, IMAGE.transpose(1, 2, 0), BANDS="ugriz")
        with pytest.raises(BadInput, match=r"names 5 bands and has the shape \(64, 64, 5\) \(its axes are turned"):
            read_cutout([path])
        write_cube(path, IMAGE[[0, 1, 2, 3, 4, 0]], BANDS="ugrizu")
        with pytest.raises(BadInput, match="names a band twice"):
            read_cutout([path])

    def test_extensions_that_lack_a_band_or_double_one(self, path):
        write_extensions(path, IMAGE, bands="ugrix")
        with pytest.raises(BadInput, match="has no extension for the band z"):
            read_cutout([path])
        write_extensions(path, IMAGE, bands="ugrii")
        with pytest.raises(BadInput, match="holds the band i twice"):
            read_cutout([path])

    def test_bands_of_different_shapes(self, tmp_path):
        write_bands(tmp_path, "J", IMAGE)
        write_cube(tmp_path / "J_i.fits", IMAGE[3, :40, :40])
        with pytest.raises(BadInput, match=r"differ in shape: .*J_i.fits \(40, 40\)"):
            read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS])

    def test_a_band_whose_file_is_missing(self, tmp_path):
        write_bands(tmp_path, "J", IMAGE)
        (tmp_path / "J_g.fits").unlink()
        with pytest.raises(BadInput, match=r"there is no cut-out .*J_g.fits"):
            read_cutout([tmp_path / f"J_{band}.fits" for band in BANDS])

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_pixel_that_is_not_finite_where_it_counts(self, path, value):
        image = IMAGE.copy()
        image[2, 0, 0] = value
        write_cube(path, image)
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)
        image[2, 30:32, 30] = value
        write_cube(path, image)
        with pytest.raises(BadInput, match=r"J0001.fits: 2 pixels are NaN or infinite in the band r"):
            read_cutout([path])

    def test_blank_integers_are_no_pixels(self, path):
        image = np.ones((5, 32, 32), np.int16)
        image[0, 3, 3] = -99
        write_cube(path, image, BLANK=-99)
        with pytest.raises(BadInput, match="1 pixel is NaN or infinite in the band u"):
            read_cutout([path])

    @pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.95])
    def test_a_file_that_is_cut_short(self, path, share):
        write_cube(path, IMAGE)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(BadInput, match=r"J0001.fits is no FITS file, or damaged"):
            read_cutout([path])

    def test_a_file_that_ends_among_its_pixels_is_called_cut_short(self, path):
        write_cube(path, IMAGE)
        path.write_bytes(path.read_bytes()[:9000])
        with pytest.raises(BadInput, match="it is cut short"):
            read_cutout([path])

    @pytest.mark.parametrize(
        ("axes", "message"),
        [
            ((4096, 4096, 5), r"has the shape \(5, 4096, 4096\); a cut-out has at most 16,777,216 pixels"),
            ((2**31, 2**31, 5), "J0001.fits"),
            ((1,) * 999, "an image of 999 axes; a cut-out has two or three"),
        ],
    )
    def test_a_header_that_claims_far_more_than_a_cutout_has(self, path, axes, message):
        cards = {"SIMPLE": True, "BITPIX": -64, "NAXIS": len(axes)}
        cards |= {f"NAXIS{number}": size for number, size in enumerate(axes, start=1)}
        path.write_bytes(fits.Header(cards | {"BUNIT": "nanomaggy"}).tostring().encode() + bytes(2880))
        with pytest.raises(BadInput, match=message) as caught:
            read_cutout([path])
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize("name", ["J.fits", "J.fits.gz"])
    def test_a_file_that_goes_on_without_end(self, tmp_path, name, monkeypatch):
        monkeypatch.setattr(fits_images, "MOST_BYTES", 1_000_000)
        path = tmp_path / "J.fits"
        write_cube(path, MIDDLE)
        data = path.read_bytes() + bytes(2_000_000)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        with pytest.raises(BadInput, match="holds more than 1,000,000 bytes, which is no cut-out"):
            read_cutout([tmp_path / name])

    @pytest.mark.parametrize("data", [b"", b"hello", b"SIMPLE  = ", bytes(5760)])
    def test_a_file_that_is_none(self, path, data):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=r"J0001.fits is no FITS file, or damaged"):
            read_cutout([path])

    def test_a_file_without_an_image(self, path):
        fits.PrimaryHDU().writeto(path)
        with pytest.raises(BadInput, match=r"J0001.fits holds no image"):
            read_cutout([path])


@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_worse(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "x.fits"
    write_cube(path, MIDDLE)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 2880 + 200))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert np.isfinite(read_cutout([path])).all()
    except BadInput as error:
        assert "\n" not in str(error)


class TestHowBandsAreNamed:
    @pytest.mark.parametrize(
        "cards",
        [
            {f"BAND_{number}": band for number, band in enumerate("zirgu")},
            {f"CHANNEL{number}": f"sdss_{band}" for number, band in enumerate("zirgu")},
            {f"PLANE{number}": band.upper() for number, band in enumerate("zirgu", 1)},
            {"FILTERS": "z,i,r,g,u"},
            {"FILTER": "zirgu"},
            {"BAND": "z i r g u"},
            {"BANDS": "sdss_z;sdss_i;sdss_r;sdss_g;sdss_u"},
        ],
        ids=lambda cards: next(iter(cards)),
    )
    def test_a_cube_has_its_planes_put_in_order(self, path, cards):
        write_cube(path, IMAGE[::-1], **cards)
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)
        assert read_cutouts(chunk_of(path), PixelOptions()).without_bands == 0

    def test_a_cube_that_names_none_is_counted(self, path):
        write_cube(path, IMAGE, FILTER="clear")
        assert read_cutouts(chunk_of(path), PixelOptions()).without_bands == 1
        assert read_cutouts(chunk_of(path), PixelOptions(bands="ugriz")).without_bands == 0

    @pytest.mark.parametrize(
        ("cards", "why"),
        [
            ({"CTYPE3": "WAVE", "CDELT3": -1400.0}, "has its planes from long to short wavelengths"),
            ({"FILTER": "r DECam SDSS c0002"}, "says that it is of the band r and has 5 planes: say --bands"),
        ],
    )
    def test_a_cube_that_cannot_be_in_order_is_refused(self, path, cards, why):
        write_cube(path, IMAGE, **cards)
        with pytest.raises(BadInput, match=why):
            read_cutout([path])
        np.testing.assert_array_equal(read_cutout([path], bands="ugriz"), MIDDLE)

    def test_extensions_without_names_are_taken_in_the_order_given(self, path):
        write_extensions(path, IMAGE[::-1], "OBJECT")
        with pytest.raises(BadInput, match="its images name no bands: say their order with --bands"):
            read_cutout([path])
        np.testing.assert_array_equal(read_cutout([path], bands="zirgu"), MIDDLE)

    def test_a_cube_may_have_an_axis_of_one_more(self, path):
        write_cube(path, IMAGE[None])
        np.testing.assert_array_equal(read_cutout([path]), MIDDLE)


def test_counts_become_nanomaggies_by_their_zero_point(path):
    write_cube(path, IMAGE, BUNIT="adu")
    np.testing.assert_allclose(read_cutout([path], unit="zp=25.0"), MIDDLE * 0.1, rtol=1e-6)
    np.testing.assert_allclose(read_cutout([path], unit="ZEROPOINT 22.5"), MIDDLE, rtol=1e-6)


@pytest.mark.parametrize(
    ("cards", "place"),
    [
        ({"EQUINOX": 1950.0}, (150.64512, 1.75813)),
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, (150.3226, 1.87927)),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, (63.37103, 53.8947)),
    ],
    ids=["B1950", "J1975", "galactic"],
)
def test_a_centre_in_another_frame_is_compared_in_that_of_the_table(path, cards, place):
    write_cube(path, IMAGE, **wcs(**cards))
    assert read_cutouts(chunk_of(path, place=place), PixelOptions()).rows == [3]
    ((_, why),) = read_cutouts(chunk_of(path, place=(150.0, 2.0)), PixelOptions()).faults
    assert "(from " in why


def test_inspect_says_when_a_cutout_was_observed(path):
    planes = [
        hdu_of(plane, band, **{"DATE-OBS": f"20{year}-03-01"})
        for plane, band, year in zip(IMAGE, BANDS, range(10, 15), strict=True)
    ]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path)
    found = inspect_file(path, ColumnOptions(), PixelOptions(), {})
    assert found.facts["observed"] == "2010-03-01 to 2014-03-01"


@pytest.mark.parametrize(
    "cards",
    [
        {"CHANNELS": "z,i,r,g,u"},
        {"ORDER": "zirgu"},
        {"BANDS": "z+i+r+g+u"},
        {"COLORS": "SDSS z|SDSS i|SDSS r|SDSS g|SDSS u"},
        {f"FILTNAM{number}": band for number, band in enumerate("zirgu", 1)},
        {f"BANDNM{number:02}"[:8]: f"sdss_{band}" for number, band in enumerate("zirgu", 10)},
    ],
    ids=lambda cards: next(iter(cards)),
)
def test_planes_are_named_by_cards_of_any_name(path, cards):
    write_cube(path, IMAGE[::-1], **cards)
    np.testing.assert_array_equal(read_cutout([path]), MIDDLE)


def test_bytes_are_pictures_and_no_fluxes(path):
    write_cube(path, IMAGE.clip(0, 1).astype(np.uint8))
    with pytest.raises(BadInput, match=r"J0001.fits holds bytes, as pictures for display do, which are no fluxes"):
        read_cutout([path])


@pytest.mark.parametrize("card", ["COMMENT", "HISTORY"])
@pytest.mark.parametrize(
    "remark", ["planes are z, i, r, g, u", "stacked in the order zirgu", "SDSS_z SDSS_i SDSS_r SDSS_g SDSS_u"]
)
def test_an_order_of_bands_in_a_remark_is_a_choice(path, card, remark):
    write_cube(path, IMAGE[::-1], **{card: remark})
    with pytest.raises(BadInput, match=f"a remark: '{remark}': say it with --bands z,i,r,g,u, or u,g,r,i,z"):
        read_cutout([path])
    np.testing.assert_array_equal(read_cutout([path], bands="zirgu"), MIDDLE)
    write_cube(path, IMAGE, **{card: "u g r i z coadds, resampled"})
    assert read_cutouts(chunk_of(path), PixelOptions()).without_bands == 0


@pytest.mark.parametrize(
    ("card", "value", "factor"),
    [("MAGZERO", 25.0, 0.1), ("MAGZPT", "20.0", 10), ("FLUXMAG0", 10**10.0, 0.1), ("ZP", 22.5, 1)],
)
@pytest.mark.parametrize("unit", ["adu", None])
def test_a_zero_point_in_a_header_is_offered_and_taken(path, card, value, factor, unit):
    write_cube(path, IMAGE, BUNIT=unit, **{card: value})
    with pytest.raises(BadInput, match=f"its card {card} [a-z]+ [0-9.]+: --unit zp={card} takes each image by it"):
        read_cutout([path])
    np.testing.assert_allclose(read_cutout([path], unit=f"zp={card}"), MIDDLE * factor, rtol=1e-6)
    with pytest.raises(BadInput, match=r"J0001.fits has no zero point in its card NAXIS9, which --unit names"):
        read_cutout([path], unit="zp=NAXIS9")


@pytest.mark.parametrize(
    "cards",
    [
        {f"BAND_{letter}": band for letter, band in zip("ABCDE", "zirgu", strict=True)},
        {f"FILT{number:02}": band for number, band in enumerate("zirgu", 1)},
        {band.upper(): place for place, band in enumerate("zirgu")},
        {f"{band.upper()}BAND": place for place, band in enumerate("zirgu", 1)},
        {"BANDS": "z:i:r:g:u"},
        {"BANDS": "z-i-r-g-u"},
    ],
    ids=lambda cards: "_".join(map(str, [*cards][:2])),
)
def test_planes_are_named_in_ways_that_are_rarer(path, cards):
    write_cube(path, IMAGE[::-1], **cards)
    np.testing.assert_array_equal(read_cutout([path]), MIDDLE)


@pytest.mark.parametrize("card", ["WAVE", "LAMBDA", "CWL"])
def test_planes_by_falling_wavelengths_are_a_choice(path, card):
    waves = [9134.0, 7481, 6166, 4686, 3551]
    write_cube(path, IMAGE[::-1], **{f"{card}{number}": wave for number, wave in enumerate(waves, 1)})
    with pytest.raises(BadInput, match=rf"from long to short wavelengths \({card}1\): say their order with --bands"):
        read_cutout([path])
    np.testing.assert_array_equal(read_cutout([path], bands="zirgu"), MIDDLE)


@pytest.mark.parametrize("name", ["STDEV", "CONFMAP", "BITMASK", "OBJMASK", "COVERAGE", "PSFMODEL", "CTX", "CHI2"])
def test_an_image_beside_the_science_is_known_by_its_name(path, name):
    fits.HDUList([fits.PrimaryHDU(), hdu_of(np.ones_like(IMAGE), name), hdu_of(IMAGE, "SCI")]).writeto(path)
    np.testing.assert_array_equal(read_cutout([path]), MIDDLE)


@pytest.mark.parametrize("card", ["HDUCLAS1", "IMTYPE", "PRODTYPE", "DATATYPE"])
def test_an_image_beside_the_science_is_known_by_its_card(path, card):
    file = [fits.PrimaryHDU(), hdu_of(np.ones_like(IMAGE), **{card: "ERROR"}), hdu_of(IMAGE, **{card: "IMAGE"})]
    fits.HDUList(file).writeto(path)
    np.testing.assert_array_equal(read_cutout([path]), MIDDLE)


@pytest.mark.parametrize("card", ["INSFILTE", "FILT", "PASSBAND", "BANDPASS", "FILTER2"])
def test_extensions_say_their_band_in_other_cards(path, card):
    write_extensions(path, IMAGE[::-1], card, BANDS[::-1])
    np.testing.assert_array_equal(read_cutout([path]), MIDDLE)


@pytest.mark.parametrize(
    "cards",
    [
        {"PC1_1": -0.262 / 3600, "PC2_2": 0.262 / 3600},
        {
            "CDELT1": -0.262,
            "CDELT2": 0.262,
            "CUNIT1": "arcsec",
            "CUNIT2": "arcsec",
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
        },
        {"CDELT1": -np.radians(0.262 / 3600), "CDELT2": np.radians(0.262 / 3600), "CUNIT1": "rad", "CUNIT2": "rad"},
        {"PIXSCALE": "0.262 arcsec/pixel"},
        {"PIXSCALE": "262 mas"},
        {"PIXELSCL": 0.262},
        {"CCDSCALE": 0.262},
    ],
    ids=lambda cards: " ".join(map(str, [*cards, *cards.values()][:5:2])),
)
def test_a_scale_is_read_where_the_place_makes_no_sense(path, cards):
    write_cube(path, IMAGE, **cards)
    ((_, why),) = read_cutouts(chunk_of(path), PixelOptions()).faults
    assert "its pixels are 0.262 arcseconds wide" in why


@pytest.mark.parametrize(
    "unit", ["1e-9 maggies", "1.0E-9 maggies", "10**-9 maggies", "10^-9 mgy", "1e-9 maggies/pixel"]
)
def test_a_power_of_ten_before_a_unit_counts(path, unit):
    write_cube(path, IMAGE, BUNIT=unit)
    np.testing.assert_allclose(read_cutout([path]), MIDDLE, rtol=1e-6)
