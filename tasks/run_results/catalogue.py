"""A run's redshifts as one catalogue: which object, its redshifts, how far they are apart, and where all came from."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.plausible import REDSHIFT
from inference.contract.validation import shorten
from inference.engines.columns import OUT_OF_DOMAIN
from inference.errors import BadInput, StoreError
from inference.rank_results.publish_summary import committed_folder
from inference.storage.store import Store
from inference.storage.temporary import temporary_folder
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.magnitude import magnitude_of
from tasks.photoz.metrics import OUTLIER
from tasks.photoz.spread import OWN
from tasks.reporting.formatting import spans
from tasks.run_results.catalogue_objects import ObjectTable
from tasks.run_results.predictions_table import SCHEMA, schema_of
from tasks.run_results.unique_ids import refuse_duplicates
from tasks.survey.object_index import OBJECTS, no_parquet

_ROWS = 1 << 18  # of a part


@dataclass(frozen=True)
class Catalogue:
    """Redshifts with what they mean.

    Attributes:
        rows: object_id, ra and dec (degrees, where known), z_pred, the columns of BOUNDS (where the model has a
            calibration; NaN where there is no interval), those of OWN (where the model gives them), z_spec (NaN where
            unknown), delta (NaN where unknown), outlier (nullable boolean), out_of_domain (where the
            model knows its training), mag_r or that of the survey's own band, partition, row; each object once.
        provenance: plain facts of the run by name.
        partitions: key, etag and number of rows of each partition that was read.
    """

    rows: pd.DataFrame
    provenance: dict[str, Any]
    partitions: pd.DataFrame


@dataclass(frozen=True)
class CatalogueParts:
    """A catalogue that is read part by part, as often as one likes; ids have not been compared with each other.

    Attributes:
        parts: makes an iterator of parts of `Catalogue.rows`, in order.
        provenance: as in `Catalogue`.
        partitions: as in `Catalogue`.
    """

    parts: Callable[[], Iterator[pd.DataFrame]]
    provenance: dict[str, Any]
    partitions: pd.DataFrame


def read_catalogue(
    store: Store,
    bucket: str,
    result_path: str,
    *,
    partial: bool = False,
    objects: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> Catalogue:
    """Assemble the catalogue of a finished run in memory; arguments and errors are those of `open_catalogue`.

    Raises:
        BadInput: and an id that stands twice.
        StoreError: the store cannot be read.
    """
    with open_catalogue(store, bucket, result_path, partial=partial, objects=objects, columns=columns) as opened:
        rows = pd.concat(opened.parts(), ignore_index=True)
    refuse_duplicates(rows)
    return Catalogue(rows, opened.provenance, opened.partitions)


@contextmanager
def open_catalogue(
    store: Store,
    bucket: str,
    result_path: str,
    *,
    partial: bool = False,
    objects: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> Iterator[CatalogueParts]:
    """Open the catalogue of a finished run, to be read part by part.

    Object ids, and where they lie on the sky, come from the table that `cosmic ingest` wrote beside the partitions, or
    from `objects`; where there is neither, an id is the partition's key and the row in it.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        partial: take what is there of an incomplete run.
        objects: a Parquet table of OBJECT_SCHEMA's columns (ra, dec, z_spec may be missing) to use instead.
        columns: what the table of objects calls its object_id, ra or dec, where it is another name.

    Yields:
        The catalogue, good until the block ends.

    Raises:
        BadInput: naming the object of the store: no finished run, one that is incomplete, a damaged or foreign file,
            or an object table that is of other partitions; reading a part raises it, too.
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
    key = f"{folder}/predictions{'.partial' if missing else ''}.parquet"
    prefix = str(_of(_of(summary, "request", dict, where), "data_prefix", str, where))
    etags = _of(plan, "data_etags", dict, where)
    with temporary_folder("catalogue") as scratch:
        if store.head(bucket, key) is None:
            raise BadInput(f"{bucket}/{key} is not there: a run of a script has no redshifts, or the file was removed")
        path = _on_disk(store, bucket, key, scratch)
        listed = _objects(store, summary["request"], objects, columns or {}, prefix, scratch)
        counts = _rows_of_files(path, f"{bucket}/{key}")

        def parts() -> Iterator[pd.DataFrame]:
            for rows in _predictions(path, f"{bucket}/{key}"):
                yield _shown(_default_ids(rows) if listed is None else listed.join(rows))

        partitions = pd.DataFrame(
            {"key": list(counts), "etag": [str(etags.get(file, "")) for file in counts], "rows": list(counts.values())}
        )
        yield CatalogueParts(parts, _provenance(summary, partitions, len(missing)), partitions)


def _shown(named: pd.DataFrame) -> pd.DataFrame:
    """The catalogue's columns of rows of predictions that have a name."""
    delta = (named["z_pred"].astype(np.float64) - named["z_spec"]) / (1 + named["z_spec"])
    known = pd.Series(REDSHIFT.measured(named["z_spec"].to_numpy()), index=named.index)
    outlier = pd.array(np.abs(delta) > OUTLIER, dtype="boolean")
    outlier[~known.to_numpy()] = pd.NA
    magnitude = magnitude_of(named.columns)
    shown = {
        "object_id": named["object_id"],
        **{name: named[name] for name in ("ra", "dec") if name in named},
        "z_pred": named["z_pred"],
        **{name: named[name] for name in (*BOUNDS, *OWN) if name in named},
        "z_spec": named["z_spec"].where(known),
        "delta": delta.where(known),
        "outlier": outlier,
        **{name: named[name].astype("boolean") for name in (OUT_OF_DOMAIN,) if name in named},
        magnitude: named[magnitude],
        "partition": named["file"],
        "row": named["index"],
    }
    return pd.DataFrame(shown).reset_index(drop=True)


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


def _on_disk(store: Store, bucket: str, key: str, scratch: Path) -> Path:
    """The object as a file: itself, or a copy under `scratch`."""
    path = store.local_path(bucket, key)
    if path is None:
        path = scratch / key.replace("/", "-")[-200:]
        store.download(bucket, key, path)
    return path


def _opened(path: Path, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise no_parquet(path, name, error) from None


def _batches(path: Path, name: str, columns: list[str]) -> Iterator[pd.DataFrame]:
    with _opened(path, name) as file:
        try:
            for batch in file.iter_batches(_ROWS, columns=columns):
                yield batch.to_pandas()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise no_parquet(path, name, error) from None


def _predictions(path: Path, name: str) -> Iterator[pd.DataFrame]:
    """Each object once: what stands under an earlier rank already is left out."""
    with _opened(path, name) as file:
        schema = file.schema_arrow
    ours = schema_of(magnitude_of(schema.names))
    if schema.names[: len(ours)] != ours.names or schema.types[: len(ours)] != ours.types:
        raise BadInput(
            f"{name} is not a table of redshifts of this version: its columns are not"
            f" {', '.join(SCHEMA.names)}; run the same request again, which writes it anew"
        )
    more = [name for name in (*BOUNDS, *OWN, OUT_OF_DOMAIN) if name in schema.names]
    for rows in _batches(path, name, [*ours.names, *more]):
        if rows[["rank", "file", "index", "z_pred", "repeat"]].isna().to_numpy().any():
            raise BadInput(f"{name} is damaged: a value is missing")
        if not rows["repeat"].all():
            yield rows[~rows["repeat"].astype(bool)]


def _rows_of_files(path: Path, name: str) -> dict[str, int]:
    """How many objects come from each partition, in order."""
    found: dict[str, int] = {}
    for rows in _predictions(path, name):
        for file, count in rows["file"].value_counts(sort=False).items():
            found[str(file)] = found.get(str(file), 0) + int(count)
    return found


def _default_ids(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(object_id=rows["file"].str.cat(rows["index"].astype(str), sep=":"))


def _objects(
    store: Store,
    request: Mapping[str, Any],
    given: Path | None,
    columns: Mapping[str, str],
    prefix: str,
    scratch: Path,
) -> ObjectTable | None:
    """The table of objects: the one given, else the one beside the partitions, else None."""
    if given is not None:
        return ObjectTable(given, "--objects", columns, prefix)
    bucket, key = str(request.get("data_bucket")), f"{request.get('data_prefix')}{OBJECTS}"
    name = f"{bucket}/{key}"
    try:
        if store.head(bucket, key) is None:
            if columns:
                raise BadInput(f"{name} is not there, so that its columns cannot be named: give --objects, too")
            return None
        return ObjectTable(_on_disk(store, bucket, key, scratch), name, columns, prefix)
    except StoreError as error:
        raise StoreError(f"{error}; name a table of objects with --objects") from error


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
