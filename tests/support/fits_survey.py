"""A survey as astronomers have it: FITS cut-outs of 64 x 64 pixels and a table."""

import numpy as np
from astropy.io import fits
from astropy.table import Table

BANDS = "ugriz"


def images_of(count, side=64, seed=0, bands=BANDS):
    return np.random.default_rng(seed).normal(size=(count, len(bands), side, side)).astype(np.float32)


def write_cube(path, image, **header):
    cards = {"BUNIT": "nanomaggy"} | header
    hdu = fits.PrimaryHDU(image, fits.Header({key: value for key, value in cards.items() if value is not None}))
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu.writeto(path, overwrite=True)


def write_bands(folder, name, image, joint="_", unit="nanomaggy", bands=BANDS):
    for band, plane in zip(bands, image, strict=True):
        write_cube(folder / f"{name}{joint}{band}.fits", plane, BUNIT=unit)


def write_extensions(path, image, keyword="EXTNAME", bands=BANDS):
    planes = [fits.ImageHDU(plane) for plane in image]
    for hdu, band in zip(planes, bands, strict=True):
        hdu.header[keyword] = band
        hdu.header["BUNIT"] = "nanomaggy"
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path, overwrite=True)


def table_of(count, seed=1, bands=BANDS, **columns):
    rng = np.random.default_rng(seed)
    table = {"object_id": [f"J{n:04d}" for n in range(count)]}
    table |= {f"mag_{band}": rng.uniform(17, 21, count) for band in bands}
    table |= {"z_spec": rng.uniform(0.02, 0.4, count), "ra": rng.uniform(0, 360, count), "dec": np.zeros(count)}
    return Table(table | columns)


def write_survey(folder, count, **columns):
    """Cubes named by their objects, and a table beside them; return images and table."""
    images, table = images_of(count), table_of(count, **columns)
    for name, image in zip(table["object_id"], images, strict=True):
        write_cube(folder / "cutouts" / f"{name}.fits", image)
    table.write(folder / "objects.fits")
    return images, table
