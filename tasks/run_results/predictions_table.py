"""The redshifts of all ranks as one Parquet file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.rank_result import RankResult
from inference.engines.columns import OUT_OF_DOMAIN
from inference.errors import BadInput
from inference.rank_results.predictions import decode
from inference.storage.prefetch import prefetch
from inference.storage.store import Store
from inference.storage.temporary import temporary_folder
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.magnitude import magnitude_of
from tasks.photoz.spread import OWN, own_spread
from tasks.run_results.worst_objects import WorstObjects

SCHEMA = pa.schema(
    [
        ("rank", pa.int32()),
        ("file", pa.string()),
        ("index", pa.int64()),
        ("z_pred", pa.float32()),
        ("z_spec", pa.float64()),
        ("repeat", pa.bool_()),  # the object stands under an earlier rank already: its file is reused
        ("mag_r", pa.float32()),
    ]
)
_MAGNITUDE = len(SCHEMA) - 1  # whose column is called after its band where that is not r
_ROW_GROUP = 1 << 16  # rows, at least


def schema_of(magnitude: str) -> pa.Schema:
    """The columns of every run, with the magnitude's as its band calls it."""
    return SCHEMA.set(_MAGNITUDE, SCHEMA.field(_MAGNITUDE).with_name(magnitude))


def write_predictions(
    store: Store,
    bucket: str,
    results: Sequence[RankResult],
    key: str,
    calibration: Calibration | None = None,
    worst: WorstObjects | None = None,
) -> pd.DataFrame:
    """Write one Parquet file with the redshifts of all ranks, in rank order, many small ranks to a row group.

    The ranks' files are read side by side and written as they come; what stays in memory is the return value.

    Args:
        store: the object store.
        bucket: of the run.
        results: of its ranks.
        key: of the Parquet file.
        calibration: of the model, which adds the columns of the intervals.
        worst: gets to see each object once.

    Returns:
        z_pred, z_spec, the magnitude, the intervals, the model's own uncertainty where it gives one and, where it knows
        its training's ranges, out_of_domain of each object once: files that several ranks read count under the first.

    Raises:
        BadInput: a predictions file is broken.
        StoreError: it is missing, or the Parquet file cannot be written.
    """
    kept = ("z_pred", "z_spec", *(BOUNDS if calibration is not None else ()))
    found_only = (OUT_OF_DOMAIN, *OWN)
    once: dict[str, list[np.ndarray]] = {name: [] for name in kept}
    with temporary_folder("combine") as scratch:
        path = scratch / "predictions.parquet"
        with ExitStack() as closing:
            writer: pq.ParquetWriter | None = None
            for table in _tables(store, bucket, results, calibration):
                writer = writer or closing.enter_context(pq.ParquetWriter(path, table.schema))
                writer.write_table(table)
                for name in (magnitude_of(table.schema.names), *found_only):
                    if name in table.schema.names:
                        once.setdefault(name, [])
                counted = table.filter(pa.compute.invert(table["repeat"]))
                if worst is not None:
                    worst.look_at(counted)
                for name, parts in once.items():
                    parts.append(counted[name].to_numpy(zero_copy_only=False))
        store.write(bucket, key, path)
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in once.items()})


def _tables(
    store: Store, bucket: str, results: Sequence[RankResult], calibration: Calibration | None
) -> Iterator[pa.Table]:
    """Tables of whole ranks, as many as make a row group; what is done for each rank is little, however many there are.

    They have the columns of SCHEMA, the intervals, and further columns of the model behind them.
    """

    def read(result: RankResult) -> tuple[int, list[str], dict[str, np.ndarray]]:
        return result.rank, *decode(store.read(bucket, result.predictions_path), result.predictions_path)

    seen: set[str] = set()
    kinds: dict[str, tuple[Any, ...]] = {}
    waiting: list[dict[str, np.ndarray]] = []
    rows = 0
    for rank, files, columns in prefetch(read, results):
        found = {name: (values.dtype, *values.shape[1:]) for name, values in sorted(columns.items())}
        kinds = kinds or found
        if found != kinds:
            raise BadInput(f"rank {rank} predicted other columns than the ranks before it")
        place = columns["file"]
        columns["rank"] = np.full(len(place), rank, np.int32)
        columns["repeat"] = np.array([file in seen for file in files])[place]
        columns["file"] = np.array(files, dtype=object)[place]
        seen.update(files)
        waiting.append(columns)
        rows += len(place)
        if rows >= _ROW_GROUP:  # its footer costs a reader and a writer 3 kB
            yield _table(waiting, calibration)
            waiting, rows = [], 0
    if waiting:
        yield _table(waiting, calibration)


def _table(ranks: Sequence[Mapping[str, np.ndarray]], calibration: Calibration | None) -> pa.Table:
    """Some ranks' columns as one table."""
    columns = {name: np.concatenate([rank[name] for rank in ranks]) for name in ranks[0]}
    magnitude = magnitude_of(columns)
    schema = schema_of(magnitude)
    more = {name: _arrow(values) for name, values in sorted(columns.items()) if name not in schema.names}
    if calibration is not None:
        bounds = calibration.bounds(columns["z_pred"], columns[magnitude], own_spread(columns))
        more = {name: pa.array(values, from_pandas=True) for name, values in bounds.items()} | more
    ours = {name: columns[name] for name in schema.names} | {magnitude: pa.array(columns[magnitude], from_pandas=True)}
    fields = [*schema, *(pa.field(name, values.type) for name, values in more.items())]
    return pa.table(ours | more, schema=pa.schema(fields))


def _arrow(values: np.ndarray) -> pa.Array:
    """A column of one number, or of a row of numbers, for each object: (B,) or (B, K)."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
