"""A finished run as it lies in a store, without having been run."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.sample import R_BAND
from inference.partitions.partition import open_partition
from inference.storage.store import Store
from tasks.run_results.predictions_table import SCHEMA
from tests.support.surveys import SIZES, random_survey, request_of, write_survey

BUCKET, PATH = "cosmicai-test", "results/test"


def finished_run(root, *, sizes=SIZES, missing=(), repeat=False, unknown=0, scatter=0.01, **changes):
    """Write partitions, plan, redshifts and summary under `root`; return the redshifts' rows as a list."""
    store = Store(root)
    survey = root / BUCKET / "survey"
    if not survey.exists():
        write_survey(survey, sizes)
    tables = []
    for rank, size in enumerate(sizes):
        if rank in missing:
            continue
        rng = np.random.default_rng(rank)
        z_spec = random_survey(size, seed=rank + 1)[2]
        z_pred = z_spec + scatter * (1 + z_spec) * rng.normal(size=size)
        z_spec[:unknown] = np.nan
        columns = {
            "rank": np.full(size, rank, np.int32),
            "file": np.full(size, f"survey/{rank + 1}.pt", object),
            "index": np.arange(size),
            "z_pred": z_pred.astype(np.float32),
            "z_spec": z_spec,
            "repeat": np.zeros(size, bool),
            "mag_r": random_survey(size, seed=rank + 1)[1][:, R_BAND].astype(np.float32),
        }
        tables.append(pa.table(columns, schema=SCHEMA))
        if repeat and rank == 0:
            tables.append(pa.table(columns | {"repeat": np.ones(size, bool)}, schema=SCHEMA))
    table = pa.concat_tables(tables)
    folder = root / BUCKET / PATH
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"predictions{'.partial' if missing else ''}.parquet")
    request = request_of()
    listing = {stored.key: stored.etag for stored in store.list(BUCKET, "survey")}
    summary = {
        "created": "2026-11-24T10:00:00+00:00",
        "run_id": "0198c0de",
        "result_path": f"{BUCKET}/{PATH}",
        "request": request,
        "model": {"key": "models/tiny.safetensors", "sha256": "ab" * 32},
        "engine": "onnxruntime",
        "precision": "float32",
        "ranks_planned": len(sizes),
        "missing_ranks": list(missing),
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes))
    (folder / "payload.json").write_text(json.dumps(request | {"data_etags": listing}))
    return table.to_pandas()


def object_table(root, ids=lambda file, index: f"J{file[:-3]:0>3}{index:04d}", sky=True):
    """What an ingest writes beside the partitions, as a table."""
    rows = []
    for path in sorted((root / BUCKET / "survey").glob("*.pt")):
        z_spec = open_partition(path, path.name).redshifts
        for index in range(len(z_spec)):
            place = {"ra": 10.0 + index, "dec": -1.5} if sky else {}
            rows.append({"file": path.name, "index": index, "object_id": ids(path.name, index)} | place)
            rows[-1]["z_spec"] = float(z_spec[index])
    return pa.Table.from_pylist(rows)
