"""Tables in the forms of Arrow: Parquet (a file, a folder of files, a HATS catalogue) and Feather."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.survey.damaged_file import ContentRefused
from tasks.survey.table_width import check_length, check_unfolded, check_width, refuse_twins

_MOST_TEXT, _LONG = 250_000_000, 256  # bytes that a column's texts may unfold to, where they are as long on average
_WIDTHS = {"INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}  # bytes a value
ARROW_STREAM = b"\xff\xff\xff\xff"


def read_parquet(source: Any, path: Path) -> pd.DataFrame:
    """Read a file of Parquet; columns of images are left out.

    Raises:
        BadInput: naming it: it has too many columns or rows, two columns of one name, or texts that unfold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    texts = [each.name for each in pq.read_schema(source) if any(is_kind(each.type) for is_kind in kinds)]
    with pq.ParquetFile(source, read_dictionary=texts) as file:
        check_width(path, file.metadata.num_columns)
        check_length(path, file.metadata.num_rows)
        check_unfolded(path, unfolded([file.metadata]), path.stat().st_size)
        refuse_twins(path, file.schema_arrow.names)
        return _frame(file.read(columns=_flat_columns(file.schema_arrow)))


def parquet_files(folder: Path) -> list[str]:
    """The Parquet files of a folder, in order; of a HATS catalogue, those of its pixels."""
    files = sorted(
        str(file)
        for file in folder.rglob("*.parquet")
        if not any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
    )
    root = folder / "dataset"
    return [file for file in files if Path(file).is_relative_to(root)] if root.is_dir() else files


def unfolded(parts: Iterable[Any]) -> int:
    """Bytes that the numbers and texts of files of Parquet take in memory at least, by their metadata."""
    return sum(
        column.num_values * _WIDTHS.get(column.physical_type, 1)
        for part in parts
        for group in map(part.row_group, range(part.num_row_groups))
        for column in map(group.column, range(group.num_columns))
    )


def bytes_of(paths: Iterable[str]) -> int:
    """How long files are together."""
    return sum(Path(each).stat().st_size for each in paths)


def read_feather(source: Any) -> pd.DataFrame:
    """Read a file of Feather, which is Arrow's own form on disk."""
    import pyarrow.feather as feather

    table = feather.read_table(source, memory_map=False)
    return _frame(table.select(_flat_columns(table.schema)))


def read_arrow_stream(source: Any) -> pd.DataFrame:
    """Read a stream of Arrow, as `save_to_disk` of Hugging Face writes it."""
    import pyarrow.ipc as ipc

    with ipc.open_stream(source) as stream:
        table = stream.read_all()
    return _frame(table.select(_flat_columns(table.schema)))


def read_parquet_folder(path: Path) -> tuple[pd.DataFrame, str]:
    """A folder of Parquet files, as a HATS catalogue has its pixels in; what its folders' names say is left out.

    Returns:
        The columns, and which of the two it is.

    Raises:
        BadInput: naming it: it holds no such file, too many rows, or two columns of one name.
    """
    import pyarrow.dataset as ds

    pixels = parquet_files(path)
    if not pixels:
        raise BadInput(f"{path} is a folder without Parquet files")
    found = ds.dataset(pixels, format="parquet")
    check_length(path, found.count_rows())
    check_unfolded(path, unfolded(each.metadata for each in found.get_fragments()), bytes_of(pixels))
    refuse_twins(path, found.schema.names)
    is_hats = any((path / name).exists() for name in ("hats.properties", "properties", "catalog_info.json"))
    return _frame(found.to_table(columns=_flat_columns(found.schema))), "HATS" if is_hats else "Parquet"


def _flat_columns(schema: Any) -> list[str]:
    """Columns that a table can have: single values, and lists of fixed length."""
    import pyarrow as pa

    nested = (pa.types.is_list, pa.types.is_large_list, pa.types.is_struct, pa.types.is_map)
    return [each.name for each in schema if not any(is_kind(each.type) for is_kind in nested)]


def _frame(table: Any) -> pd.DataFrame:
    """As pandas has it; whole numbers stay whole where some are missing."""
    import pyarrow as pa

    for name in table.column_names:
        kind = table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            _refuse_unfolding(table[name], name)
            table = table.set_column(table.column_names.index(name), name, table[name].cast(kind.value_type))
        if pa.types.is_fixed_size_list(kind):
            values = table[name].combine_chunks()
            table = table.drop_columns([name])
            if 1 < kind.list_size <= 16 and not values.null_count:
                flat = values.flatten()
                for place in range(kind.list_size):
                    table = table.append_column(f"{name}[{place}]", flat[place :: kind.list_size])
    # Without what pandas notes of an index: an index is a column like others here.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    return frame


def _refuse_unfolding(column: Any, name: str) -> None:
    """Refuse texts that stand once in a file and many times in the table, and fill the memory there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
        return
    lengths = [pc.binary_length(each.dictionary).cast(pa.int64()).take(each.indices) for each in column.chunks]
    size = sum(pc.sum(each).as_py() or 0 for each in lengths)
    if size > max(_MOST_TEXT, _LONG * len(column)):
        raise ContentRefused(f"the texts of its column {shorten(name)} unfold to {size / 1e6:,.0f} MB: leave it out")
