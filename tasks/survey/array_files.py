"""Opens a survey in one file, whatever holds its arrays: .pt, safetensors, .npz, HDF5, Parquet with images."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.contract.json_text import parse_json
from inference.contract.survey_facts import SurveyFacts
from inference.contract.tensor_layout import check_apart, count_elements
from inference.errors import BadInput, BadPartition
from inference.partitions.partition import Partition, open_partition
from inference.partitions.safetensors_file import read_facts
from tasks.survey.array_roles import ROLES, Values, order_of, refuse_pictures
from tasks.survey.band_names import split_bands
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions
from tasks.survey.damaged_file import damaged_file, refuse_what_is_no_file, refuse_workbook
from tasks.survey.fits_images import band_of
from tasks.survey.galaxies import Galaxies, assemble
from tasks.survey.object_table import TableReader
from tasks.survey.saved_objects import is_saved_object, read_saved, stated_beside
from tasks.survey.sky import same_scale
from tasks.survey.table_arrow import ARROW_STREAM
from tasks.survey.table_file import TableFile, read_table_file
from tasks.survey.table_numpy import read_npy_header
from tasks.survey.table_width import check_unfolded
from tasks.survey.units import nanomaggies
from tasks.survey.zero_points import card_of

_MOST_BYTES = 16 << 30
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
_MAX_HEADER = 1 << 20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ARROW = (b"PAR1", b"ARROW1", ARROW_STREAM)

_Mapping = Mapping[str, str]


def open_arrays(
    path: Path,
    mapping: _Mapping | None = None,
    pixels: PixelOptions = PixelOptions(),  # noqa: B008 - frozen
    columns: ColumnOptions = ColumnOptions(),  # noqa: B008 - frozen
) -> Galaxies:
    """Open a survey; only its outline is read.

    Args:
        path: the file, whose content says what it is, not its name; or a folder of Parquet files.
        mapping: names of arrays that somebody gave to images, magnitudes and redshifts.
        pixels: what is known of the images.
        columns: names of columns beside the images.

    Raises:
        BadInput: naming the file: it is none of these, damaged, or an array is missing or of another shape.
    """
    given = dict(mapping or {})
    wrong = [role for role in given if role not in ROLES]
    if wrong:
        raise BadInput(f"--map knows images, magnitudes and redshifts, not {wrong[0]!r:.40}")
    refuse_what_is_no_file(path)
    bands = None if pixels.bands is None else split_bands(pixels.bands)
    partition: Partition | None = None
    try:
        partition = open_partition(path, str(path))
    except BadPartition as error:
        plain = str(error)
    if partition is not None and not given and not _states_more(path, partition):
        return _plain(path, partition, pixels, bands)
    try:
        opened = _other(path, given, pixels, columns, bands, partition)
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        raise damaged_file(path, error) from None
    if opened is None:
        raise BadInput(f"{plain}; cosmic inspect {path} says what it is")
    return opened


def check_scale(galaxies: Galaxies, pixels: PixelOptions) -> None:
    """Refuse galaxies whose pixels are not as large as the model's.

    Raises:
        BadInput: naming the file and both scales.
    """
    scale = None if galaxies.facts is None else galaxies.facts.pixel_scale
    if scale is not None and not same_scale(scale, pixels.scale):
        raise BadInput(
            f"{galaxies.name} has pixels of {scale:.4g} arcseconds and {pixels.whose} are {pixels.scale:.4g}: resample"
            f" the images, or say --scale {scale:.4g} for a model that was trained on such pixels"
        )


def _states_more(path: Path, partition: Partition) -> bool:
    """Whether it is safetensors whose metadata, of somebody else, tell of bands, scale or unit."""
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    return is_safetensors and partition.facts is None and bool(_safetensors(path)[2])


def _plain(path: Path, partition: Partition, pixels: PixelOptions, bands: list[str] | None) -> Galaxies:
    """A partition, or a survey of its form."""
    stated = partition.facts or SurveyFacts()
    factor, unit = _unit(path, pixels, stated.pixel_unit)
    own, wanted = None, pixels.wanted
    if stated.bands is not None and (pixels.take is not None or sorted(stated.bands) == sorted(wanted)):
        own = order_of(str(path), stated.bands, wanted)
    order = own if bands is None else order_of(str(path), bands, wanted)
    facts = _facts(stated, pixels, bands=stated.bands if order is None else wanted, unit=unit)
    there, side, _ = partition.image_shape
    as_they_are = tuple(range(there))
    side = side if pixels.side is None else pixels.side
    return Galaxies(
        str(path),
        partition.images,
        partition.magnitudes,
        partition.redshifts,
        order=order or as_they_are,
        magnitude_order=own or as_they_are,
        factor=factor,
        shape=(len(order or as_they_are), side, side),
        facts=facts,
        release=partition.release_pages,
    )


def _unit(path: Path, pixels: PixelOptions, stated: str | None) -> tuple[float, str | None]:
    """Nanomaggies in a unit of the pixels, and the unit that they have then; None where it is not known."""
    if card_of(pixels.unit) is not None:
        raise BadInput(
            f"--unit {pixels.unit} names a card of FITS images, and {path} holds arrays: say it as --unit zp=25"
        )
    if pixels.unit is not None:
        return nanomaggies(pixels.unit, "--unit"), "nanomaggy"
    return (nanomaggies(stated, path), "nanomaggy") if stated else (1.0, None)


def _facts(
    stated: SurveyFacts, pixels: PixelOptions, bands: Sequence[str] | None, unit: str | None
) -> SurveyFacts | None:
    """What is known of galaxies once their bands and unit are as a partition has them; None where that is nothing."""
    known = replace(
        stated,
        bands=None if bands is None else tuple(bands),
        pixel_scale=stated.pixel_scale or pixels.said_scale,
        pixel_unit=unit,
    )
    return None if known == SurveyFacts() else known


def _other(
    path: Path,
    mapping: _Mapping,
    pixels: PixelOptions,
    columns: ColumnOptions,
    bands: list[str] | None,
    partition: Partition | None,
) -> Galaxies | None:
    start = b"PAR1"  # a folder of Parquet files
    if not path.is_dir():
        with path.open("rb") as file:
            start = file.read(2880)
        refuse_workbook(path, start)
    is_table = start.startswith((_HDF5, *_ARROW))
    stated: dict[str, Any] = {}
    facts = partition.facts if partition is not None else None
    if start.startswith(b"PK") and any(entry.endswith(".npy") for entry in zipfile.ZipFile(path).namelist()):
        found = _npz(path)
        stated = stated_beside(found)
    elif is_saved_object(path):
        found, stated = read_saved(path)
    elif start[8:9] == b"{":
        found, facts, stated = _safetensors(path)
    elif is_table:
        from tasks.survey.image_tables import read_arrow_images, read_hdf5_images

        found, stated = read_hdf5_images(path, columns.hdu) if start.startswith(_HDF5) else read_arrow_images(path)
    elif start.startswith(b"SIMPLE  ="):
        from tasks.survey.image_tables import read_fits_images

        is_table, (found, stated) = True, read_fits_images(path, columns.hdu, pixels.wanted)
    else:
        return None
    facts = facts or SurveyFacts()
    stated_bands = stated.get("bands", facts.bands)
    if bands is None and stated_bands is not None:
        bands = [band_of({"BAND": band}, pixels.wanted) or band for band in stated_bands]
    factor, unit = _unit(path, pixels, stated.get("unit") or facts.pixel_unit)
    wanted, side = pixels.wanted, pixels.wanted_side
    refuse_pictures(str(path), found, mapping)
    table, had = None if is_table else _columns_of(found), _has("redshifts", found)
    found, notes = _with_columns(path, found, mapping, columns, table, wanted)
    galaxies = assemble(str(path), found, mapping, bands, factor, wanted=wanted, side=side)
    facts = replace(facts, pixel_scale=stated.get("scale", facts.pixel_scale))
    known = bands is not None or pixels.take is not None
    facts_now = _facts(facts, pixels, wanted if known else None, unit)
    from_column = not had and _has("redshifts", found)
    return replace(galaxies, notes=(*galaxies.notes, *notes), facts=facts_now, from_column=from_column)


def _columns_of(found: Mapping[str, Values]) -> TableFile:
    """The arrays of one number a galaxy, as a table."""
    flat = {key: np.asarray(each[0 : each.shape[0]]) for key, each in found.items() if len(each.shape) == 1}
    longest = max(map(len, flat.values()), default=0)
    return TableFile(pd.DataFrame({key: each for key, each in flat.items() if len(each) == longest}), "arrays")


def _with_columns(
    path: Path,
    found: dict[str, Values],
    mapping: _Mapping,
    columns: ColumnOptions,
    table: TableFile | None,
    bands: tuple[str, ...],
) -> tuple[dict[str, Values], list[str]]:
    """Magnitudes and redshifts from columns beside the images, where no array holds them.

    Args:
        path: the file.
        found: its arrays by name.
        mapping: names that somebody gave.
        columns: names of columns.
        table: the columns; None reads them from the file.
        bands: of the magnitudes.
    """
    lacking = [role for role in ("magnitudes", "redshifts") if role not in mapping and not _has(role, found)]
    if not lacking or (table is not None and "magnitudes" not in lacking):
        return found, []
    reader = TableReader(str(path), table or read_table_file(path, columns.hdu), bands)
    if "magnitudes" in lacking:
        try:
            found["magnitudes"] = reader.magnitudes(columns.magnitudes)
        except BadInput:
            if table is None or columns.magnitudes is not None:
                raise
            return found, []  # of plain arrays, what is missing is named with --map
    if "redshifts" in lacking:
        redshifts = reader.redshifts(columns.redshift)
        if not np.isnan(redshifts).all():
            found["redshifts"] = redshifts
    used = [f"{what} from {name}" for what, name in reader.resolver.used.items()]
    return found, [*used, *reader.resolver.notes]


def _has(role: str, found: Mapping[str, Values]) -> bool:
    return any(name.lower() in ROLES[role] for name in found)


def _npz(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file; each header is compared with its bytes first."""
    with zipfile.ZipFile(path) as archive:
        sizes, names = 0, []
        for entry in archive.infolist():
            with archive.open(entry) as member:
                shape, dtype = read_npy_header(member)
            if dtype.hasobject:
                continue  # a pickle, as text is where numpy was given no length for it
            names.append(entry.filename.removesuffix(".npy"))
            count_elements(shape, entry.file_size // max(dtype.itemsize, 1))
            sizes += entry.file_size
        check_unfolded(path, sizes, path.stat().st_size)
        if sizes > _MOST_BYTES:
            raise BadInput(f"{path} unpacks to {sizes:,} bytes, which is more than can be read")
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in names if key in file.files}


class _BFloat16:
    """Numbers in bfloat16, which numpy does not know, as float32 where they are sliced."""

    def __init__(self, halves: np.ndarray) -> None:
        self._halves, self.shape = halves, halves.shape

    def __getitem__(self, part: slice, /) -> np.ndarray:
        return (self._halves[part].astype(np.uint32) << 16).view(np.float32)


def _safetensors(path: Path) -> tuple[dict[str, Values], SurveyFacts | None, dict[str, Any]]:
    """The tensors of a safetensors file, the facts of the survey in its metadata, and what that states otherwise."""
    data = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(bytes(data[:8]), "little")
    if start > min(8 + _MAX_HEADER, len(data)):
        raise BadInput(f"{path} claims a safetensors header of {start - 8:,} bytes")
    header = parse_json(bytes(data[8:start]), f"the header of {path}")
    found: dict[str, Values] = {}
    spans = []
    for key, entry in header.items():
        if key == "__metadata__" or entry["dtype"] not in _DTYPES:
            continue
        dtype, (begin, end) = np.dtype(_DTYPES[entry["dtype"]]), entry["data_offsets"]
        if not (type(begin) is type(end) is int and 0 <= begin <= end <= len(data) - start):
            raise BadInput(f"{path}: tensor {key!r:.60} is cut off or damaged")
        count = count_elements(entry["shape"], (end - begin) // dtype.itemsize)
        if count != math.prod(entry["shape"]) or count * dtype.itemsize != end - begin:
            raise BadInput(f"{path}: tensor {key!r:.60} claims another size than its shape has")
        spans.append((begin, end))
        values = np.frombuffer(data, dtype, count, start + begin).reshape(entry["shape"])
        found[key] = _BFloat16(values) if entry["dtype"] == "BF16" else values
    check_apart(spans)
    note = read_facts(bytes(data[:start]), str(path))
    metadata = header.get("__metadata__")
    stated = stated_beside(metadata if isinstance(metadata, dict) else {})
    return found, None if note is None else SurveyFacts.read(note, str(path)), stated
