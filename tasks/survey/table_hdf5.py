"""Tables in HDF5: columns as data sets of a group (RAIL, MultimodalUniverse), or one data set of records (astropy).

Nothing outside the file is followed: a link to another file, or data kept elsewhere, is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.errors import BadInput
from tasks.survey.columns import knows_columns
from tasks.survey.table_fits import LONGEST_VECTOR
from tasks.survey.table_width import TooWide, check_length, check_unfolded

_MOST_NODES = 4_000  # in a group; each takes a millisecond or more to open
_MOST_DEPTH = 8
_MOST_BYTES = 8 << 30


def import_h5py() -> Any:
    """The library.

    Raises:
        BadInput: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise BadInput("HDF5 files need h5py: pip install 'cosmic-flows[formats]'") from None
    return h5py


def read_hdf5(path: Path, part: str | None) -> tuple[pd.DataFrame, str]:
    """Read a table of an HDF5 file.

    Args:
        path: the file.
        part: the group or data set; None looks for the one with columns that are known.

    Returns:
        The columns that hold one value a row (of a few values a row, `NAME[0]`, `NAME[1]`, ...), and the table's name.

    Raises:
        BadInput: naming the file: there is no such table, or several candidates, or data elsewhere.
    """
    h5py = import_h5py()
    with h5py.File(path, "r") as file:
        tables = {name: columns for name, columns in _tables(file, path) if columns}
        name = _chosen(tables, path, part)
        frame: dict[str, np.ndarray] = {}
        check_length(path, max((len(dataset) for dataset, _ in tables[name].values()), default=0))
        for column, (dataset, field) in tables[name].items():
            values = dataset[field] if field else dataset[()]
            if values.ndim == 1:
                frame[column] = _plain(values)
            else:
                frame |= {f"{column}[{place}]": values[:, place] for place in range(values.shape[1])}
    return pd.DataFrame(frame), name


def walk(file: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Every group and data set of the file by its path in it, nothing twice and nothing of another file.

    Raises:
        BadInput: there are too many, or one leads out of the file.
    """
    h5py = import_h5py()
    waiting, seen = [("", file)], 0
    while waiting:
        name, node = waiting.pop(0)
        yield name, node
        if not isinstance(node, h5py.Group) or name.count("/") >= _MOST_DEPTH:
            continue
        if len(node) > _MOST_NODES:
            raise TooWide(f"{path} holds {len(node):,} data sets in a group; {_MOST_NODES:,} is the limit")
        for key in node:
            seen += 1
            link = node.get(key, getlink=True)
            if seen > _MOST_NODES or isinstance(link, h5py.ExternalLink):
                why = "holds too many data sets" if seen > _MOST_NODES else "refers to another file, which is not read"
                raise BadInput(f"{path} {why}")
            if isinstance(link, h5py.HardLink):
                waiting.append((f"{name}/{key}".lstrip("/"), node[key]))


def check_dataset(dataset: Any, path: Path) -> None:
    """Refuse a data set whose bytes lie elsewhere, or are far too many.

    Raises:
        BadInput: naming it.
    """
    if dataset.is_virtual or dataset.external:
        raise BadInput(f"{path}: {dataset.name} keeps its data in another file, which is not read")
    size = dataset.size * dataset.dtype.itemsize
    check_unfolded(f"{path}: {dataset.name}", size, dataset.id.get_storage_size())
    if size > _MOST_BYTES:
        raise BadInput(f"{path}: {dataset.name} claims {dataset.size:,} values, which is more than can be read")


def _tables(file: Any, path: Path) -> Iterator[tuple[str, dict[str, tuple[Any, str | None]]]]:
    """Groups that hold columns of one length, and data sets of records: column -> data set, and field of it."""
    h5py = import_h5py()
    for name, node in walk(file, path):
        if str(node.attrs.get("pandas_type", "")).find("frame") >= 0:
            raise BadInput(f"{path} was written by to_hdf of pandas, whose layout is not read: save it with to_parquet")
        if isinstance(node, h5py.Dataset) and node.dtype.names and node.ndim == 1:
            check_dataset(node, path)
            simple = [field for field in node.dtype.names if _is_column((*node.shape, *node.dtype[field].shape))]
            yield name, {field: (node, field) for field in simple if field != "index" or len(simple) == 1}
        if isinstance(node, h5py.Group):
            columns: dict[str, tuple[Any, str | None]] = {}
            for key in node if len(node) <= _MOST_NODES else ():
                if isinstance(node.get(key, getlink=True), h5py.HardLink) and isinstance(node[key], h5py.Dataset):
                    dataset = node[key]
                    check_dataset(dataset, path)
                    if dataset.dtype.names is None and _is_column(dataset.shape):
                        columns[key] = (dataset, None)
            lengths = {len(dataset) for dataset, _ in columns.values()}
            if len(lengths) == 1:
                yield name or "/", columns


def _is_column(shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and 1 < shape[1] <= LONGEST_VECTOR)


def _chosen(tables: dict[str, Any], path: Path, part: str | None) -> str:
    listed = ", ".join(tables)[:200] or "none"
    if part is not None:
        wanted = part.strip("/") or "/"
        if wanted not in tables:
            raise BadInput(f"{path} has no table {part!r:.60} (--hdu); it has {listed}")
        return wanted
    known = [name for name, columns in tables.items() if knows_columns(columns)] or list(tables)
    if len(known) != 1:
        what = f"{len(known)} tables ({listed}): choose one with --hdu" if known else "no table"
        raise BadInput(f"{path} holds {what}")
    return known[0]


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(object) if values.dtype.kind in "SO" else values
