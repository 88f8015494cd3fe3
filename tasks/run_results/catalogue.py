"""A run's redshifts as one catalogue: which object, its redshifts, how far they are apart, and where all came from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from inference.contract.plausible import REDSHIFT
from inference.contract.validation import sanitize_text, shorten
from inference.errors import BadInput, StoreError
from inference.rank_results.publish_summary import committed_folder
from inference.storage.store import Store
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.metrics import OUTLIER
from tasks.reporting.formatting import spans
from tasks.run_results.predictions_table import SCHEMA
from tasks.survey.object_index import OBJECT_SCHEMA, OBJECTS, read_parquet


@dataclass(frozen=True)
class Catalogue:
    """Redshifts with what they mean.

    Attributes:
        rows: object_id, ra and dec (degrees, where known), z_pred, the columns of BOUNDS (where the model has a
            calibration; NaN where there is no interval), z_spec (NaN where unknown), delta (NaN where unknown),
            outlier (nullable boolean), mag_r, partition, row; each object once.
        provenance: plain facts of the run by name.
        partitions: key, etag and number of rows of each partition that was read.
    """

    rows: pd.DataFrame
    provenance: dict[str, Any]
    partitions: pd.DataFrame


def read_catalogue(
    store: Store,
    bucket: str,
    result_path: str,
    *,
    partial: bool = False,
    objects: bytes | None = None,
    columns: Mapping[str, str] | None = None,
) -> Catalogue:
    """Assemble the catalogue of a finished run.

    Object ids, and where they lie on the sky, come from the table that `cosmic ingest` wrote beside the partitions, or
    from `objects`; where there is neither, an id is the partition's key and the row in it.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        partial: take what is there of an incomplete run.
        objects: a Parquet table of OBJECT_SCHEMA's columns (ra, dec, z_spec may be missing) to use instead.
        columns: what the table of objects calls its object_id, ra or dec, where it is another name.

    Raises:
        BadInput: naming the object of the store: no finished run, one that is incomplete, a damaged or foreign file,
            an object table that is of other partitions, or an id that stands twice.
        StoreError: the store cannot be read.
    """
    where = f"{bucket}/{result_path}"
    folder = committed_folder(store, bucket, result_path)
    summary = _document(store, bucket, f"{folder}/summary.json", f"there is no finished run under {where}")
    plan = _document(store, bucket, f"{result_path}/payload.json", f"{where} holds no plan")
    missing = summary.get("missing_ranks")
    if not isinstance(missing, list) or not all(isinstance(rank, int) for rank in missing):
        raise BadInput(f"{where}/summary.json does not say which ranks are missing")
    if missing and not partial:
        ranks = f"rank{'s' if len(missing) > 1 else ''} {spans(missing)[:200]}"
        raise BadInput(
            f"{where} is incomplete, {ranks} of {summary.get('ranks_planned')} missing: run the same request again,"
            " or take what is there with --partial"
        )
    found = _predictions(store, bucket, f"{folder}/predictions{'.partial' if missing else ''}.parquet")
    rows = found[~found["repeat"]]
    prefix = str(_of(_of(summary, "request", dict, where), "data_prefix", str, where))
    listed = _objects(store, summary["request"], objects, columns or {})
    named = _default_ids(rows) if listed is None else _joined(rows, listed, prefix)
    _refuse_duplicates(named)
    delta = (named["z_pred"].astype(np.float64) - named["z_spec"]) / (1 + named["z_spec"])
    known = pd.Series(REDSHIFT.measured(named["z_spec"].to_numpy()), index=named.index)
    outlier = pd.array(np.abs(delta) > OUTLIER, dtype="boolean")
    outlier[~known.to_numpy()] = pd.NA
    shown = {
        "object_id": named["object_id"],
        **{name: named[name] for name in ("ra", "dec") if name in named},
        "z_pred": named["z_pred"],
        **{name: named[name] for name in BOUNDS if name in named},
        "z_spec": named["z_spec"].where(known),
        "delta": delta.where(known),
        "outlier": outlier,
        "mag_r": named["mag_r"],
        "partition": named["file"],
        "row": named["index"],
    }
    etags = _of(plan, "data_etags", dict, where)
    counts = rows["file"].value_counts(sort=False)
    partitions = pd.DataFrame(
        {"key": list(counts.index), "etag": [str(etags.get(key, "")) for key in counts.index], "rows": counts.to_list()}
    )
    return Catalogue(
        pd.DataFrame(shown).reset_index(drop=True), _provenance(summary, partitions, len(missing)), partitions
    )


def _document(store: Store, bucket: str, key: str, absent: str) -> dict[str, Any]:
    document = store.read_json(bucket, key)
    if document is None:
        raise BadInput(f"{absent}: {key} is not there")
    if not isinstance(document, dict):
        raise BadInput(f"{bucket}/{key} is damaged: it is no JSON object")
    return document


def _of(document: Mapping[str, Any], field: str, kind: type, where: str) -> Any:
    value = document.get(field)
    if not isinstance(value, kind):
        raise BadInput(f"what {where} says of itself is damaged: {field} is {shorten(value)}")
    return value


def _predictions(store: Store, bucket: str, key: str) -> pd.DataFrame:
    if store.head(bucket, key) is None:
        raise BadInput(f"{bucket}/{key} is not there: a run of a script has no redshifts, or the file was removed")
    table = read_parquet(store.read(bucket, key), f"{bucket}/{key}")
    names = table.schema.names
    if names[: len(SCHEMA)] != SCHEMA.names or table.schema.types[: len(SCHEMA)] != SCHEMA.types:
        raise BadInput(
            f"{bucket}/{key} is not a table of redshifts of this version: its columns are not"
            f" {', '.join(SCHEMA.names)}; run the same request again, which writes it anew"
        )
    rows: pd.DataFrame = table.select([*SCHEMA.names, *(name for name in BOUNDS if name in names)]).to_pandas()
    if rows[["rank", "file", "index", "z_pred", "repeat"]].isna().to_numpy().any():
        raise BadInput(f"{bucket}/{key} is damaged: a value is missing")
    return rows


def _default_ids(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(object_id=rows["file"].str.cat(rows["index"].astype(str), sep=":"))


def _objects(
    store: Store, request: Mapping[str, Any], given: bytes | None, columns: Mapping[str, str]
) -> pd.DataFrame | None:
    """The table of objects: the one given, else the one beside the partitions, else None."""
    name, data = "--objects", given
    if data is None:
        bucket, key = str(request.get("data_bucket")), f"{request.get('data_prefix')}{OBJECTS}"
        name = f"{bucket}/{key}"
        try:
            if store.head(bucket, key) is None:
                if columns:
                    raise BadInput(f"{name} is not there, so that its columns cannot be named: give --objects, too")
                return None
            data = store.read(bucket, key)
        except StoreError as error:
            raise StoreError(f"{error}; name a table of objects with --objects") from error
    table = _renamed(read_parquet(data, name), columns, name)
    lacking = [column for column in ("file", "index", "object_id") if column not in table.column_names]
    if lacking:
        raise BadInput(f"{name} lacks the column {lacking[0]} of a table of objects")
    known = [field for field in OBJECT_SCHEMA if field.name in table.column_names]
    try:
        typed = table.select([field.name for field in known]).cast(pa.schema(known))
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(
            f"{name} holds a column of another type: {sanitize_text(str(error).splitlines()[0]):.120}"
        ) from None
    rows: pd.DataFrame = typed.to_pandas()
    if rows[["file", "index", "object_id"]].isna().to_numpy().any():
        raise BadInput(f"{name} is damaged: a file, index or object_id is missing")
    place = rows.duplicated(["file", "index"])
    if place.any():
        first = rows[place].iloc[0]
        raise BadInput(f"{name} names two objects for row {first['index']} of {first['file']}")
    return rows


def _renamed(table: pa.Table, columns: Mapping[str, str], where: str) -> pa.Table:
    """The table whose `columns`, by their names in OBJECT_SCHEMA, have these names."""
    for column in columns.values():
        if column not in table.column_names:
            there = ", ".join(table.column_names[:20])
            raise BadInput(f"{where} has no column {shorten(column)}; its columns are {shorten(there, 200)}")
    fields = {column: field for field, column in columns.items()}
    if len(fields) < len(columns):
        raise BadInput(f"one column of {where} is named for two of {', '.join(columns)}")
    kept = [name for name in table.column_names if name in fields or name not in columns]
    return table.select(kept).rename_columns([fields.get(name, name) for name in kept])


def _joined(rows: pd.DataFrame, listed: pd.DataFrame, prefix: str) -> pd.DataFrame:
    listed = listed.assign(file=(f"{prefix}/" if prefix else "") + listed["file"]).rename(
        columns={"z_spec": "z_listed"}
    )
    both = rows.merge(listed, how="left", on=["file", "index"], validate="many_to_one")
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


def _refuse_duplicates(rows: pd.DataFrame) -> None:
    again = rows["object_id"].duplicated()
    if not again.any():
        return
    name = rows.loc[again, "object_id"].iloc[0]
    places = rows[rows["object_id"] == name].head(2)
    where = " and ".join(f"row {index} of {file}" for file, index in zip(places["file"], places["index"], strict=True))
    more = int(again.sum()) - 1
    raise BadInput(f"the object id {name!r:.80} stands twice, {where}{f'; so do {more:,} others' if more else ''}")


def _provenance(summary: Mapping[str, Any], partitions: pd.DataFrame, missing: int) -> dict[str, Any]:
    """What the redshifts rest on, as plain facts."""
    model, request = summary.get("model") or {}, summary["request"]
    calibration = summary.get("calibration") or {}
    listing = json.dumps(partitions[["key", "etag"]].to_numpy().tolist())
    return {
        "creator": f"cosmic-flows {version('cosmic-flows')}",
        "created": summary.get("created"),
        "run_id": summary.get("run_id"),
        "result_path": summary.get("result_path"),
        "model": model.get("key"),
        "model_sha256": model.get("sha256"),
        "engine": summary.get("engine"),
        "precision": summary.get("precision"),
        "calibration": calibration.get("key"),
        "calibration_sha256": calibration.get("sha256"),
        "data": f"{request.get('data_bucket')}/{request.get('data_prefix')}",
        "data_etag": hashlib.sha256(listing.encode()).hexdigest(),
        "missing_ranks": missing,
        "outlier_limit": OUTLIER,
    }


def calibration_of(store: Store, bucket: str, provenance: Mapping[str, Any]) -> Calibration | None:
    """The calibration that a run's intervals come from; None where the run has none.

    Raises:
        BadInput: it is gone, damaged or has been replaced since the run.
        StoreError: the store cannot be read.
    """
    key = provenance["calibration"]
    if key is None:
        return None
    again = "run the same request again"
    if store.head(bucket, key) is None:
        raise BadInput(f"{bucket}/{key}, the calibration that this run's intervals come from, is gone: {again}")
    found = Calibration.read(store.read(bucket, key), f"{bucket}/{key}", provenance["model_sha256"])
    if found.sha256 != provenance["calibration_sha256"]:
        raise BadInput(f"{bucket}/{key} was replaced after this run, so its intervals are of an older one: {again}")
    return found
