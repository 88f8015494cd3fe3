"""Tables that numpy saved: an array of records, as `numpy.save` writes one."""

import io
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from inference.contract.tensor_layout import count_elements
from inference.errors import BadInput
from tasks.survey.table_width import check_width


def read_npy_table(source: Any, path: Path) -> pd.DataFrame:
    """Read an array of records; its header is compared with its bytes first, and nothing of a pickle is executed.

    Args:
        source: the file, or its bytes unpacked.
        path: names it in messages.

    Returns:
        Its fields; of a few values a record, `NAME[0]`, `NAME[1]`, ...

    Raises:
        BadInput: naming it: it is an array without names, or a pickle.
    """
    data = path.read_bytes() if source is path else source.getvalue()
    file = io.BytesIO(data)
    shape, dtype = read_npy_header(file)
    if dtype.hasobject:
        raise BadInput(f"{path} is a pickle of numpy's, which is not run: save its table as CSV, Parquet or FITS")
    if dtype.names is None or len(shape) != 1:
        raise BadInput(
            f"{path} is an array of numpy without names, of shape {shape}: save the columns as an array of records, or"
            " images, magnitudes and redshifts in one .npz for cosmic partition"
        )
    check_width(path, len(dtype.names))
    start = file.tell()
    count = count_elements(shape, (len(data) - start) // dtype.itemsize)
    from astropy.table import Table

    from tasks.survey.table_fits import from_astropy

    return from_astropy(Table(np.frombuffer(data, dtype, count, start)))[0]


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type of an array that numpy saved; the file then stands at its first value."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(map(int, shape)), dtype
