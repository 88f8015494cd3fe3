"""Tables with an image in each row: HDF5 as MultimodalUniverse has it, Parquet as of Hugging Face, and FITS."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import BadInput
from tasks.survey.array_roles import ROLES, Values
from tasks.survey.cutout_files import band_in, is_science
from tasks.survey.saved_objects import BAND_NAMES, SCALE_NAMES, stated_beside
from tasks.survey.table_arrow import ARROW_STREAM, bytes_of, parquet_files, unfolded
from tasks.survey.table_fits import parts_of
from tasks.survey.table_hdf5 import check_dataset, import_h5py, walk
from tasks.survey.table_width import check_unfolded, check_width

_REDSHIFTS = ("redshifts", "labels", "label", "targets")  # other names are columns of a table beside the images
_MOST_BYTES = 16 << 30


def read_hdf5_images(path: Path, part: str | None = None) -> tuple[dict[str, Values], dict[str, Any]]:
    """Images and other arrays of an HDF5 file, and what it says of bands, scale and unit.

    Args:
        path: the file.
        part: the group in which they lie; None looks everywhere.

    Raises:
        BadInput: naming it: no images, several, or data elsewhere.
    """
    h5py = import_h5py()
    file = h5py.File(path, "r")  # stays open: images are read when they are sliced
    found: dict[str, Values] = {}
    beside: dict[str, Any] = {}
    twins: dict[str, list[str]] = {}
    for name, node in walk(file, path):
        if isinstance(node, h5py.Dataset):
            check_dataset(node, path)
            if part is not None and not name.startswith(f"{part.strip('/')}/"):
                continue
            last = name.rpartition("/")[2]
            is_array = node.ndim >= 2 or last.lower() in _REDSHIFTS
            if is_array and node.dtype.kind in "fiu":
                twins.setdefault(last, []).append(name)
                found[name] = node
            names_bands = last in BAND_NAMES and node.ndim > 0 and node.dtype.kind in "SO"
            if names_bands or (last in SCALE_NAMES and node.dtype.kind in "fiu"):
                beside[last] = node[()]
    found = {last if len(names) == 1 else name: found[name] for last, names in twins.items() for name in names}
    images = [name for name in found if len(found[name].shape) == 4]
    named = [name for name in images if name.lower().rpartition("/")[2] in ROLES["images"]] or images
    if len(named) != 1:
        shown = ", ".join(named[:5]) or "no data set of four axes"
        way = "choose a group with --hdu, or" if len({*(name.rpartition("/")[0] for name in named)}) > 1 else ""
        raise BadInput(f"{path} holds {shown}: {way} name the images with --map images=NAME".replace(":  ", ": "))
    images_of: Any = found.pop(named[0])
    found["images"] = images_of
    stated = stated_beside(dict(file.attrs) | dict(images_of.attrs))
    bands = next((beside[key] for key in BAND_NAMES if key in beside), None)
    if bands is not None:
        stated["bands"] = _same(path, "bands", np.asarray(bands))
    scales = next((beside[key] for key in SCALE_NAMES if key in beside), None)
    if scales is not None:
        stated["scale"] = _one_scale(path, np.asarray(scales, np.float64))
    return found, stated


def read_arrow_images(path: Path) -> tuple[dict[str, Values], dict[str, Any]]:
    """Images in a column of Parquet (also a folder, a HATS catalogue), Feather or a stream of Arrow, and what it says.

    Raises:
        BadInput: naming it: no such column, several, pictures in place of fluxes, or images of different shapes.
    """
    import pyarrow as pa

    column = _image_column(path)
    stated: dict[str, Any] = {}
    if isinstance(column, pa.FixedShapeTensorArray):
        return {"images": column.to_numpy_ndarray()}, stated
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    each = 1
    if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):  # a structure a band
        each, rest = divmod(len(column.flatten()), max(len(column), 1))
        if column.null_count or rest or len(np.unique(np.diff(column.offsets.to_numpy()))) != 1:
            raise BadInput(f"{path} has images of different shapes")
        column = column.flatten()
    values = column
    if pa.types.is_struct(column.type):
        parts = {each.name: number for number, each in enumerate(column.type)}
        pixels = next((name for name in ("flux", "array", "image", "pixels", "data") if name in parts), None)
        if pixels is None:
            raise BadInput(f"{path} holds images without pixels: the column has {', '.join(parts)}")
        values = column.field(parts[pixels])
        bands = next((column.field(parts[name]) for name in ("band", *BAND_NAMES) if name in parts), None)
        if bands is not None:
            names = np.array(bands.to_pylist(), dtype=object)
            stated["bands"] = _same(path, "bands", names if each == 1 else names.reshape(-1, each))
        scale = next((column.field(parts[name]) for name in SCALE_NAMES if name in parts), None)
        if scale is not None:
            stated["scale"] = _one_scale(path, _dense(path, scale))
    images = _dense(path, values)
    return {"images": images if each == 1 else images.reshape(-1, each, *images.shape[1:])}, stated


def is_folder_of_images(path: Path) -> bool:
    """Whether a path is a folder of Parquet files of which a column holds images; one that is damaged is none."""
    import pyarrow as pa

    try:
        return (
            path.is_dir() and bool(parquet_files(path)) and any(_depth(each.type) >= 3 for each in _table(path).schema)
        )
    except (pa.ArrowException, OSError):
        return False  # whoever reads it says what is wrong


def _table(path: Path) -> Any:
    """A table of Arrow, of which nothing but its outline is read."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    if path.is_dir():
        return ds.dataset(parquet_files(path), format="parquet")
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(ARROW_STREAM):
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
            return ds.dataset(stream.read_all())
    return ds.dataset([str(path)], format="parquet" if start.startswith(b"PAR1") else "feather")


def _image_column(path: Path) -> Any:
    """The one column of images of a table of Arrow, whole."""
    import pyarrow as pa

    table = _table(path)
    schema, rows = table.schema, table.count_rows()
    check_width(path, len(schema))
    if rows * 5 * 32 * 32 * 4 > _MOST_BYTES:
        raise BadInput(f"{path} has {rows:,} images, which is more than can be read at once")
    nested = [each for each in schema if _depth(each.type) >= 3]
    named = [each for each in nested if each.name.lower() in ROLES["images"]] or nested
    structures = [each for each in schema if pa.types.is_struct(each.type)]
    pictures = [each.name for each in structures if {"bytes", "path"} <= {part.name for part in each.type}]
    if not named and pictures:
        raise BadInput(f"{path} holds pictures (PNG or JPEG) in its column {pictures[0]}, which are no fluxes")
    if len(named) != 1:
        shown = ", ".join(each.name for each in named[:5]) or "no column of images"
        way = "; a table of objects and its cut-outs in FITS are for cosmic ingest" if not named else ""
        raise BadInput(f"{path} holds {shown}: a column of images (5, S, S) is needed{way}")
    if hasattr(table, "files") and table.format.default_extname == "parquet":
        check_unfolded(path, unfolded(each.metadata for each in table.get_fragments()), bytes_of(table.files))
    return table.to_table(columns=[named[0].name]).column(0).combine_chunks()


def read_fits_images(path: Path, part: str | None, bands: Sequence[str]) -> tuple[dict[str, Values], dict[str, Any]]:
    """Images of a FITS table: a column of cubes, or a column of images for each band.

    Args:
        path: the file.
        part: number or EXTNAME of the HDU; None takes the one with such columns.
        bands: those that are wanted, as names of columns end or begin with them.

    Raises:
        BadInput: naming it: no such column, or several.
    """
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = fits.open(path, memmap=True)  # stays open: images are read when they are sliced
        tables = [
            hdu
            for number, hdu in enumerate(parts_of(file, str(path)))
            if isinstance(hdu, fits.BinTableHDU)
            and not isinstance(hdu, fits.CompImageHDU)
            and (part is None or part.upper() in {str(number), hdu.name.upper()})
        ]
        found = [pair for hdu in tables for pair in _images_of(hdu, bands).items()]
    if len(found) != 1:
        shown = ", ".join(name for name, _ in found) or "no table with a column of images"
        raise BadInput(
            f"{path} holds {shown}: cosmic partition takes a FITS table with one column of images (bands, S, S), or one"
            " of each band, and cosmic ingest takes cut-outs in FITS and the table of their objects"
        )
    return found[0][1]


def _images_of(hdu: Any, bands: Sequence[str]) -> dict[str, tuple[dict[str, Values], dict[str, Any]]]:
    """Columns of cubes by name, or the images of single bands, together, by the names of all; each with its unit."""
    science = [(name, len(hdu.columns.dtype[name].shape)) for name in hdu.columns.names if is_science(name)]
    cubes: dict[str, tuple[dict[str, Values], dict[str, Any]]] = {
        name: ({"images": _native(hdu.data[name])}, _unit(hdu, name)) for name, axes in science if axes == 3
    }
    planes = [name for name, axes in science if axes == 2]
    named = [[name for name in planes if band_in(name, bands) == band] for band in bands]
    if cubes or not all(len(names) == 1 for names in named):
        return cubes
    columns = [names[0] for names in named]
    if (
        len({hdu.columns.dtype[name].shape for name in columns}) > 1
        or len({str(_unit(hdu, name)) for name in columns}) > 1
    ):
        return {}
    images = _native(np.stack([hdu.data[name] for name in columns], axis=1))
    return {", ".join(columns): ({"images": images}, _unit(hdu, columns[0]) | {"bands": list(bands)})}


def _unit(hdu: Any, column: str) -> dict[str, Any]:
    unit = str(hdu.columns[column].unit or "").strip()
    return {"unit": unit} if unit else {}


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _depth(kind: Any) -> int:
    """How deep lists are nested, through structures."""
    import pyarrow as pa

    if isinstance(kind, pa.FixedShapeTensorType):
        return len(kind.shape)
    if isinstance(kind, pa.BaseExtensionType):
        return _depth(kind.storage_type)
    if pa.types.is_struct(kind):
        return max((_depth(each.type) for each in kind), default=0)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return 1 + _depth(kind.value_type)
    return 0


def _dense(path: Path, array: Any) -> np.ndarray:
    """Nested lists of one shape as an array."""
    import pyarrow as pa

    shape = [len(array)]
    while pa.types.is_nested(array.type):
        if array.null_count:
            raise BadInput(f"{path} has rows without an image")
        flat = array.flatten()
        each, rest = divmod(len(flat), len(array)) if len(array) else (0, 0)
        lengths = np.unique(np.diff(array.offsets.to_numpy())) if hasattr(array, "offsets") else [each]
        if rest or len(lengths) != 1:
            raise BadInput(f"{path} has images of different shapes")
        shape.append(each)
        array = flat
    if array.null_count:
        raise BadInput(f"{path} has images with missing pixels")
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values.reshape(shape)


def _same(path: Path, what: str, values: np.ndarray) -> list[str]:
    """What every row says alike."""
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(1, -1)
    words = {tuple(map(_text, row)) for row in np.unique(rows.astype(str), axis=0)}
    if len(words) != 1:
        raise BadInput(f"{path} has images in different {what}, which one survey does not mix")
    return list(words.pop())


def _one_scale(path: Path, values: np.ndarray) -> float:
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        raise BadInput(f"{path} states no pixel scale that makes sense")
    if known.max() - known.min() > 0.01 * known.max():
        raise BadInput(f"{path} mixes pixels of {known.min():.4g} and {known.max():.4g} arcseconds")
    return float(np.median(known))


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.removeprefix("b'").removesuffix("'").strip()
