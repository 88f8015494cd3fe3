"""The table of objects that belongs to a run's partitions, looked up a few partitions at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.survey.damaged_file import first_line
from tasks.survey.object_index import OBJECT_SCHEMA, no_parquet


class ObjectTable:
    """A Parquet table of OBJECT_SCHEMA's columns, in any order; ra, dec and z_spec may be missing.

    Only what belongs to the partitions that are asked for is in memory. Row groups whose statistics exclude them are
    not read, so that a table in the partitions' order, as `cosmic ingest` writes it, is read about once.

    Args:
        path: of the table.
        name: for messages.
        columns: what the table calls its object_id, ra or dec, where it is another name.
        prefix: of the partitions' keys, which the table's file names lack.

    Raises:
        BadInput: it is no Parquet table, or lacks a column.
    """

    def __init__(self, path: Path, name: str, columns: Mapping[str, str], prefix: str) -> None:
        self._name = name
        self._prefix = f"{prefix}/" if prefix else ""
        if not path.is_file():
            raise BadInput(f"{name}: there is no file {path.name}")
        try:
            self._table = pyarrow.dataset.dataset(path, format="parquet")
        except (pa.ArrowException, OSError, ValueError) as error:
            raise no_parquet(path, name, error) from None
        there = self._table.schema.names
        for column in columns.values():
            if column not in there:
                listed = shorten(", ".join(there[:20]), 200)
                raise BadInput(f"{name} has no column {shorten(column)}; its columns are {listed}")
        if len(set(columns.values())) < len(columns):
            raise BadInput(f"one column of {name} is named for two of {', '.join(columns)}")
        free = set(there) - set(columns.values())
        sources = {field: columns.get(field, field if field in free else None) for field in OBJECT_SCHEMA.names}
        self._sources = {field: source for field, source in sources.items() if source in there}
        lacking = [column for column in ("file", "index", "object_id") if column not in self._sources]
        if lacking:
            raise BadInput(f"{name} lacks the column {lacking[0]} of a table of objects")

    def join(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of predictions, `file` and `index` among them, with object_id and, where known, ra and dec.

        Raises:
            BadInput: an object is not listed, listed twice, or of another partition of that name.
        """
        listed = self._of(pd.unique(rows["file"].str.slice(len(self._prefix))).tolist())
        listed["file"] = self._prefix + listed["file"]
        both = rows.merge(listed.rename(columns={"z_spec": "z_listed"}), "left", ["file", "index"])
        lost = both["object_id"].isna()
        if lost.any():
            first = both[lost].iloc[0]
            raise BadInput(f"the table of objects does not list row {first['index']} of {first['file']}")
        if "z_listed" in both:
            read, listed_z = both["z_spec"].to_numpy(), both["z_listed"].to_numpy()
            other = ~((read == listed_z) | (np.isnan(read) & np.isnan(listed_z)))
            if other.any():
                first = both[other].iloc[0]
                raise BadInput(
                    f"the table of objects is of other partitions: it has z_spec {first['z_listed']} for row"
                    f" {first['index']} of {first['file']}, which was read with {first['z_spec']}"
                )
        return both

    def _of(self, files: Sequence[str]) -> pd.DataFrame:
        """The objects of these partitions, by their names in the folder."""
        field = pyarrow.dataset.field
        file, values = field(self._sources["file"]), pa.array(files, pa.string())
        wanted = (file >= min(files)) & (file <= max(files)) & file.isin(values)  # a range can skip row groups
        schema = pa.schema([known for known in OBJECT_SCHEMA if known.name in self._sources])
        columns = {name: field(source) for name, source in self._sources.items()}
        try:
            table = self._table.to_table(columns=columns, filter=wanted)
            rows: pd.DataFrame = table.select(schema.names).cast(schema).to_pandas()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadInput(f"{self._name} holds a column of another type: {first_line(error)}") from None
        if rows[["file", "index", "object_id"]].isna().to_numpy().any():
            raise BadInput(f"{self._name} is damaged: a file, index or object_id is missing")
        place = rows.duplicated(["file", "index"])
        if place.any():
            first = rows[place].iloc[0]
            raise BadInput(f"{self._name} names two objects for row {first['index']} of {first['file']}")
        return rows
