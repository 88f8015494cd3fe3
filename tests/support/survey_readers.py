"""Files of surveys as people have them: valid bytes of each form, and the code that reads it."""

import io
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from astropy.io import fits
from astropy.table import Table
from torch.utils.data import Subset, TensorDataset

from tasks.survey.array_files import open_arrays
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions, read_cutout
from tasks.survey.object_table import read_objects
from tests.support.surveys import random_survey

IMAGES, MAGNITUDES, REDSHIFTS = random_survey(3)
NAMES = ("images", "magnitudes", "redshifts")


def written(write, suffix=""):
    """What a library writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        write(path)
        return path.read_bytes()


def saved(thing, **options):
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def _hdf5(path):
    with h5py.File(path, "w") as file:
        for name, values in zip(NAMES, (IMAGES, MAGNITUDES, REDSHIFTS), strict=True):
            file[name] = values


def _parquet(path):
    images = pa.array(IMAGES.tolist())
    columns = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")}
    pq.write_table(pa.table({"image": images} | columns), path)


def _objects():
    columns = {f"mag_{band}": MAGNITUDES[:, place] for place, band in enumerate("ugriz")}
    return {"objid": np.arange(3)} | columns | {"z_spec": REDSHIFTS}


def _hdf5_table(path):
    with h5py.File(path, "w") as file:
        for name, values in _objects().items():
            file[f"photometry/{name}"] = values


def _cube(path):
    header = fits.Header({"BUNIT": "nanomaggy", "BANDS": "ugriz", "CDELT1": 1e-4, "CDELT2": 1e-4})
    fits.PrimaryHDU(IMAGES[0], header).writeto(path)


def _galaxies(path):
    return [batch.images.sum() for batch in open_arrays(path).batches(2)]


def _table(path):
    return list(read_objects(path, path.parent, ColumnOptions()).faults())


TENSORS = [torch.from_numpy(array) for array in (IMAGES, MAGNITUDES, REDSHIFTS)]
SURVEY_FILES = {
    "survey in a dict": (saved(dict(zip(NAMES, (IMAGES, *TENSORS[1:]), strict=True))), _galaxies),
    "survey before torch 1.6": (
        saved(Subset(TensorDataset(*TENSORS), [0, 2]), _use_new_zipfile_serialization=False),
        _galaxies,
    ),
    "survey in .npz": (
        written(
            lambda path: np.savez(path.open("wb"), **dict(zip(NAMES, (IMAGES, MAGNITUDES, REDSHIFTS), strict=True)))
        ),
        _galaxies,
    ),
    "survey in HDF5": (written(_hdf5), _galaxies),
    "survey in Parquet": (written(_parquet), _galaxies),
    "table in HDF5": (written(_hdf5_table), _table),
    "table in FITS": (written(lambda path: Table(_objects()).write(path, format="fits")), _table),
    "table in VOTable": (written(lambda path: Table(_objects()).write(path, format="votable")), _table),
    "table in Parquet": (written(lambda path: pq.write_table(pa.table(_objects()), path)), _table),
    "table in text": ("#Table1\nobjid,u,g,r,i,z,Z\n1,20,19,18,17,16,0.1\n2,20,19,18,17,16,0.2\n", _table),
    "cut-out": (written(_cube), lambda path: read_cutout([path], PixelOptions())),
}
