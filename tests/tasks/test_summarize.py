import dataclasses
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput, StoreError
from inference.rank_results.gather import Gathered
from inference.rank_results.predictions import Predictions
from inference.runs.begin import Start
from inference.runs.plan import Plan
from inference.storage.prefetch import READERS
from inference.storage.store import Store, StoredObject
from tasks.invocations.ledger import Ledger
from tasks.run_results.predictions_table import SCHEMA, write_predictions
from tasks.run_results.summary import describe, rank_table
from tasks.summarize import rows_of_ranks
from tests.support.surveys import request_of
from tests.support.wire_examples import EVENT, RESULT

BUCKET, KEY = "cosmicai-test", "results/test/predictions.parquet"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def ranks_of(store, shares, known=True, flagged=None):
    """Results of ranks that read the files given, (name, galaxies), with redshifts that tell rank and sample."""
    made = []
    for rank, files in enumerate(shares):
        predictions = Predictions()
        for file, count in files:
            z = rank + np.arange(count) / 100
            predictions.add(file, 0, z, z + 0.5 if known else None, more=None if flagged is None else flagged(z))
        path = f"results/test/predictions/{rank}.safetensors"
        store.write(BUCKET, path, predictions.encode(EVENT))
        names = [file for file, _ in files]
        made.append(
            dataclasses.replace(
                RESULT,
                rank=rank,
                samples=predictions.samples,
                predictions_path=path,
                data_path=names[0] if len(names) == 1 else names,
            )
        )
    return made


class TestTheTableOfRedshifts:
    def test_every_galaxy_has_a_row_with_its_rank_file_and_index(self, store, tmp_path):
        results = ranks_of(store, [[("1.pt", 3), ("2.pt", 2)], [("3.pt", 4)]])
        counted = write_predictions(store, BUCKET, results, KEY)
        rows = pd.read_parquet(tmp_path / BUCKET / KEY)
        assert list(rows.columns) == SCHEMA.names
        assert rows["file"].tolist() == ["1.pt"] * 3 + ["2.pt"] * 2 + ["3.pt"] * 4
        assert rows["index"].tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3]
        assert rows["rank"].tolist() == [0] * 5 + [1] * 4
        np.testing.assert_allclose(rows["z_spec"] - rows["z_pred"], 0.5, atol=1e-6)
        assert not rows["repeat"].any()
        pd.testing.assert_frame_equal(rows[["z_pred", "z_spec", "mag_r"]], counted)

    def test_small_ranks_share_a_row_group_and_none_is_divided(self, store, tmp_path, monkeypatch):
        monkeypatch.setattr("tasks.run_results.predictions_table._ROW_GROUP", 4)
        results = ranks_of(store, [[("1.pt", 3)], [("2.pt", 5)], [("3.pt", 4)], [("4.pt", 1)]])
        write_predictions(store, BUCKET, results, KEY)
        written = pq.ParquetFile(tmp_path / BUCKET / KEY)
        assert [written.metadata.row_group(n).num_rows for n in range(written.num_row_groups)] == [8, 4, 1]
        assert written.schema_arrow.remove_metadata() == SCHEMA

    def test_more_ranks_than_are_read_at_once_come_in_their_order(self, store, tmp_path):
        results = ranks_of(store, [[(f"{rank}.pt", 1)] for rank in range(3 * READERS)])
        counted = write_predictions(store, BUCKET, results, KEY)
        assert pd.read_parquet(tmp_path / BUCKET / KEY)["rank"].tolist() == list(range(3 * READERS))
        assert counted["z_pred"].tolist() == list(range(3 * READERS))

    def test_a_repeated_file_counts_once_and_is_marked_in_later_ranks(self, store, tmp_path):
        results = ranks_of(store, [[("1.pt", 3)], [("2.pt", 2), ("1.pt", 3)], [("2.pt", 2)]])
        counted = write_predictions(store, BUCKET, results, KEY)
        whole = pd.read_parquet(tmp_path / BUCKET / KEY)
        assert whole.groupby(["rank", "file"])["repeat"].all().to_dict() == {
            (0, "1.pt"): False,
            (1, "2.pt"): False,
            (1, "1.pt"): True,
            (2, "2.pt"): True,
        }
        assert counted["z_pred"].tolist() == whole["z_pred"][~whole["repeat"]].tolist()

    def test_objects_out_of_domain_are_counted_once(self, store):
        files = [[("1.pt", 3)], [("1.pt", 3)]]
        results = ranks_of(store, files, flagged=lambda z: {"out_of_domain": z % 1 > 0.015})
        assert write_predictions(store, BUCKET, results, KEY)["out_of_domain"].tolist() == [False, False, True]

    def test_unknown_redshifts_stay_unknown(self, store):
        assert (
            write_predictions(store, BUCKET, ranks_of(store, [[("1.pt", 3)]], known=False), KEY)["z_spec"].isna().all()
        )

    def test_a_broken_or_missing_file_of_redshifts_is_named(self, store):
        results = ranks_of(store, [[("1.pt", 3)], [("2.pt", 3)]])
        store.write(BUCKET, results[1].predictions_path, b"broken")
        with pytest.raises(BadInput, match=r"predictions/1\.safetensors"):
            write_predictions(store, BUCKET, results, KEY)
        store.delete(BUCKET, [results[1].predictions_path])
        with pytest.raises(StoreError, match=r"predictions/1\.safetensors"):
            write_predictions(store, BUCKET, results, KEY)
        assert store.head(BUCKET, KEY) is None, "half a table is no table"


class TestTheTableOfRanks:
    def test_a_rank_is_a_row_with_its_partitions_and_its_rate(self, store):
        table = rank_table(ranks_of(store, [[("1.pt", 3), ("2.pt", 2)], [("3.pt", 4)]]), resumed=[1])
        assert table["data_path"].tolist() == ["1.pt, 2.pt", "3.pt"]
        assert table["samples_per_s"].tolist() == [5 / RESULT.wall_total_s, 4 / RESULT.wall_total_s]
        assert table["resumed"].tolist() == [False, True]

    def test_no_rank_is_an_empty_table_of_the_same_columns(self, store):
        none, one = rank_table([]), rank_table(ranks_of(store, [[("1.pt", 3)]]))
        assert len(none) == 0
        assert set(none.columns) == set(one.columns)


class TestTheDocument:
    EVENTS = tuple(dataclasses.replace(EVENT, rank=rank, world_size=3, data_paths=(f"{rank}.pt",)) for rank in range(3))

    def summary_of(self, results, missing=(), resumed=(), ledger=None):
        plan = Plan(self.EVENTS, (StoredObject("0.pt", 1, ""),), ("a note",))
        request = RunRequest.read(request_of())
        found = Gathered(tuple(results), tuple(missing), ())
        document = describe(
            request, Start(plan, tuple(resumed), "results/test"), found, ledger or Ledger(), {"run_id": "run"}
        )
        json.dumps(document, allow_nan=False)
        return document

    def done(self, rank, start, end, samples=100, **changes):
        return dataclasses.replace(
            RESULT, rank=rank, started_at=start, ended_at=end, samples=samples, wall_loop_s=end - start, **changes
        )

    def test_its_makespan_is_from_the_first_start_to_the_last_end(self):
        results = [self.done(0, 10.0, 14.0), self.done(1, 11.0, 20.0), self.done(2, 14.0, 15.0)]
        document = self.summary_of(results)
        assert document["makespan_s"] == 10.0
        assert (document["samples"], document["samples_per_s"]) == (300, 30.0)
        assert document["throughput_bps"] == pytest.approx(300 * 164_160 / 10)
        rates = [100 * 164_160 / seconds for seconds in (4, 9, 1)]
        assert document["throughput_bps_sum_of_ranks"] == pytest.approx(sum(rates)), "not how fast the run went"

    def test_ranks_of_an_earlier_run_count_as_done_but_not_in_the_time(self):
        results = [self.done(0, 10.0, 14.0), self.done(1, 1000.0, 1004.0), self.done(2, 1001.0, 1005.0, cold=False)]
        document = self.summary_of(results, resumed=[0])
        assert (document["ranks_done"], document["ranks_resumed"], document["samples"]) == (3, 1, 300)
        assert document["makespan_s"] == 5.0
        assert document["samples_per_s"] == 200 / 5
        assert document["cold_ranks"] == 1

    def test_a_run_that_ran_nothing_tells_the_time_of_the_runs_before(self):
        results = [self.done(rank, 10.0, 14.0) for rank in range(3)]
        assert self.summary_of(results, resumed=[0, 1, 2])["makespan_s"] == 4.0

    def test_no_rank_done_is_no_time_and_no_rate(self):
        document = self.summary_of([], missing=[0, 1, 2])
        assert document["makespan_s"] is document["samples_per_s"] is document["throughput_bps"] is None
        assert document["missing_ranks"] == [0, 1, 2]
        assert document["samples"] == 0

    def test_missing_ranks_are_reported_with_their_partitions_and_causes(self):
        ledger = Ledger()
        ledger.never_ran([1], "its task run crashed")
        document = self.summary_of([self.done(0, 10.0, 14.0)], missing=[1, 2], ledger=ledger)
        assert document["missing_ranks"] == [1, 2]
        assert document["failed_ranks"] == [{"rank": 1, "data_path": ["1.pt"], "error": "its task run crashed"}]

    def test_it_repeats_the_request_and_what_the_plan_noted(self):
        document = self.summary_of([self.done(rank, 10.0, 14.0) for rank in range(3)])
        assert document["request"] == request_of()
        assert document["notes"] == ["a note"]
        assert document["model"] == {"key": EVENT.model, "sha256": EVENT.model_sha256}
        assert document["run_id"] == "run"


def test_the_table_in_the_ui_begins_with_failures_and_keeps_columns():
    failed = [{"rank": 1, "data_path": ["1.pt", "2.pt"], "error": "damaged"}]
    done = [{"rank": 0, "data_path": "0.pt", "samples": 8, "wall_total_s": 1.5, "cold": True, "worker": "pid 1"}]
    first, second = rows_of_ranks(failed, done)
    assert (first["state"], first["data_path"], first["error"]) == ("FAILED", "1.pt, 2.pt", "damaged")
    assert (second["state"], second["samples"], second["error"]) == ("done", 8, "")
    assert list(first) == list(second), "the UI takes its columns from the first row"
    assert "error" not in rows_of_ranks([], done)[0]
