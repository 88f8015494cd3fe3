import json
import pickle
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest

from flows.run import run
from inference.engines.load import open_engine
from inference.errors import BadInput, RunIncomplete, StoreError
from inference.partitions.partition import open_partition, write_partition
from inference.storage.store import Store
from tasks.photoz.quality import quality_of
from tasks.run_results.catalogue import read_catalogue
from tests.support.surveys import SIZES, random_survey, read_json, request_of, snapshot, write_survey

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
DOCUMENT_KEYS = {
    "run_id",
    "result_path",
    "executor",
    "world_size",
    "ranks_planned",
    "ranks_done",
    "ranks_resumed",
    "missing_ranks",
    "failed_ranks",
    "samples",
    "makespan_s",
    "end_to_end_s",
    "samples_per_s",
    "throughput_bps",
    "throughput_bps_sum_of_ranks",
    "cost",
    "metrics",
    "report",
}


@pytest.fixture
def results(store):
    return store / "cosmicai-test" / "results" / "test"


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_weights, prefect_server):
    """A run that ended well: its document, its results, its store."""
    from tests.support.prefect_command import reporting_to

    root = tmp_path_factory.mktemp("store")
    write_survey(root / "cosmicai-test" / "survey")
    write_survey(root / "cosmicai-test" / "survey-old")
    (root / "cosmicai-test" / "models").mkdir()
    shutil.copy(tiny_weights, root / "cosmicai-test" / "models" / "tiny.safetensors")
    with reporting_to(prefect_server):
        document = run(request_of(), str(root), workers=2)
    return document, root / "cosmicai-test" / "results" / "test", root


class TestAWholeRun:
    def test_run_document_has_every_documented_key(self, done):
        document, _, _ = done
        assert document.keys() >= DOCUMENT_KEYS
        assert document["cost"].keys() >= {"method", "usd", "items"}
        assert document["metrics"].keys() >= {
            "mae",
            "mse",
            "bias",
            "nmad",
            "r2",
            "outlier_fraction",
        }
        assert (document["ranks_planned"], document["ranks_done"], document["ranks_resumed"]) == (
            4,
            4,
            0,
        )
        assert document["missing_ranks"] == document["failed_ranks"] == []
        assert document["samples"] == sum(SIZES)
        assert 0 < document["makespan_s"] <= document["end_to_end_s"]
        assert document["throughput_bps"] == pytest.approx(sum(SIZES) * 164_160 / document["makespan_s"])
        assert any("file_limit is 10" in note for note in document["notes"])
        json.dumps(document, allow_nan=False)

    def test_run_ignores_a_prefix_with_the_same_beginning(self, done):
        _, results, _ = done
        assert set(read_json(results / "payload.json")["data_map"].values()) == {f"survey/{n}.pt" for n in (1, 2, 3, 4)}

    def test_combined_data_keeps_the_identities_of_old_records(self, done):
        _, results, _ = done
        records = read_json(results / "combined_data.json")
        assert [record["data_path"] for record in records] == [f"survey/{n}.pt" for n in (1, 2, 3, 4)]
        for record, size in zip(records, SIZES, strict=True):
            time = record["total_cpu_time (seconds)"]
            assert record["throughput_bps"] * time == pytest.approx(size * 164_160)
            assert record["sample_persec"] * time == pytest.approx(size)
            assert record["num_batches"] == -(-size // 16)
            assert record["wall_total_s"] >= record["wall_loop_s"] > 0
            assert record["peak_rss_mb"] > 10

    def test_run_gives_the_redshifts_of_the_model(self, done, tiny_weights):
        _, results, root = done
        table = pd.read_parquet(results / "predictions.parquet")
        assert list(table["rank"].unique()) == [0, 1, 2, 3]
        engine = open_engine("onnxruntime", tiny_weights, threads=1)
        for number, size in enumerate(SIZES, 1):
            part = open_partition(root / "cosmicai-test" / "survey" / f"{number}.pt", "x")
            rows = table[table["file"] == f"survey/{number}.pt"]
            assert list(rows["index"]) == list(range(size))
            expected = engine.predict(np.asarray(part.images), np.asarray(part.magnitudes))
            np.testing.assert_allclose(rows["z_pred"], expected, atol=1e-5)
            np.testing.assert_array_equal(rows["z_spec"], np.asarray(part.redshifts).ravel())

    def test_catalogue_and_metrics_match_the_redshifts_of_the_run(self, done):
        document, _, root = done
        catalogue = read_catalogue(Store(root), "cosmicai-test", "results/test")
        assert len(catalogue.rows) == document["objects"]
        assert catalogue.provenance["model_sha256"] == document["model"]["sha256"]
        quality = quality_of(catalogue.rows, "the run")
        assert quality.metrics == document["metrics"]
        assert {name: list(ends) for name, ends in quality.spread.items()} == {
            name: list(ends) for name, ends in document["metrics_intervals"].items()
        }

    def test_run_writes_report_and_summary_beside_its_results(self, done):
        document, results, _ = done
        assert read_json(results / "summary.json")["samples"] == sum(SIZES)
        assert (results / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
        assert document["report"].endswith("results/test/report.html")
        assert "survey/3.pt" in (results / "report.html").read_text()
        assert not list(results.glob("*partial*"))

    def test_bill_of_a_local_run_is_marked_as_an_estimate(self, done):
        document, _, _ = done
        assert document["cost"]["estimate"] is True
        assert document["cost"]["usd"] > 0
        assert document["cost"]["method"] == "billed"


def requests_billed(document):
    return next(item["quantity"] for item in document["cost"]["items"] if item["name"] == "requests")


def test_request_started_again_runs_no_rank(store, results):
    run(request_of(), str(store), workers=0)
    ranks = {n: (results / f"{n}.json").read_text() for n in range(4)}
    before = pd.read_parquet(results / "predictions.parquet")
    again = run(request_of(), str(store), workers=0)
    assert (again["ranks_resumed"], again["ranks_done"]) == (4, 4)
    assert {n: (results / f"{n}.json").read_text() for n in range(4)} == ranks
    pd.testing.assert_frame_equal(pd.read_parquet(results / "predictions.parquet"), before)


def test_changed_partition_runs_its_rank_only_and_fresh_runs_all(store, results):
    run(request_of(), str(store), workers=0)
    write_partition(store / "cosmicai-test" / "survey" / "2.pt", *random_survey(31, seed=9))
    again = run(request_of(), str(store), workers=0)
    assert (again["ranks_resumed"], again["samples"]) == (3, sum(SIZES) + 1)
    fresh = run(request_of(), str(store), workers=0, fresh=True)
    assert (fresh["ranks_resumed"], fresh["ranks_done"]) == (0, 4)
    assert requests_billed(again) == 4, "three of the first run and one of the second"
    assert requests_billed(fresh) == 4


def test_rank_with_lost_or_damaged_redshifts_runs_again(store, results):
    run(request_of(), str(store), workers=0)
    lost, spoiled = sorted((results / "predictions").iterdir())[:2]
    lost.unlink()
    spoiled.write_bytes(spoiled.read_bytes()[:100])
    with pytest.raises(StoreError, match=rf"predictions/{spoiled.name} is not a predictions file.*remove the file"):
        run(request_of(), str(store), workers=0)
    spoiled.unlink()
    again = run(request_of(), str(store), workers=0)
    assert (again["ranks_done"], again["ranks_resumed"]) == (4, 3)


def test_metrics_count_each_object_once_when_ranks_share_files(store, results):
    document = run(request_of(world_size=6), str(store), workers=2)
    assert document["samples"] == sum(SIZES) + 40 + 30
    assert document["metrics"]["samples"] == sum(SIZES)
    table = pd.read_parquet(results / "predictions.parquet")
    assert table["repeat"].sum() == 70


def test_run_without_workers_runs_every_rank_in_this_process(store, results):
    document = run(request_of(), str(store), workers=0)
    assert document["ranks_done"] == 4
    assert len({record["worker"] for record in read_json(results / "combined_data.json")}) == 1


def test_run_makes_partitions_first_when_the_request_asks(store, tmp_path):
    write_partition(tmp_path / "survey.pt", *random_survey(70))
    wanted = request_of(data_prefix="made", partition={"source": str(tmp_path / "survey.pt"), "size": 30})
    document = run(wanted, str(store), workers=0)
    assert (document["world_size"], document["samples"]) == (3, 70)
    again = run(wanted, str(store), workers=0)
    assert again["ranks_resumed"] == 3
    with pytest.raises(BadInput, match="holds partitions that were not made from"):
        run(wanted | {"partition": wanted["partition"] | {"size": 10}}, str(store), workers=0)


def truncated(path):
    path.write_bytes(path.read_bytes()[:5000])


def empty(path):
    path.write_bytes(b"")


def not_a_zip(path):
    path.write_bytes(b"hello " * 1000)


def not_finite(path):
    images, magnitudes, redshifts = random_survey(30)
    images[17, 2, 3, 3] = np.nan
    write_partition(path, images, magnitudes, redshifts)


def other_shape(path):
    import torch

    tensors = [torch.zeros(9, 5, 64, 64), torch.zeros(9, 5), torch.zeros(9)]
    torch.save(torch.utils.data.TensorDataset(*tensors), path)


def other_type(path):
    import torch

    tensors = [torch.zeros(9, 5, 32, 32, dtype=torch.int32), torch.zeros(9, 5), torch.zeros(9)]
    torch.save(torch.utils.data.TensorDataset(*tensors), path)


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def hostile(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(path.parent / "canary")))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", b"\0" * 16)


SPOILT = dict(enumerate((truncated, empty, not_a_zip, not_finite, other_shape, other_type, hostile), 1))  # by rank


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory, tiny_weights, prefect_server):
    """A run over two good partitions and seven bad ones between them: the error, its results, its survey."""
    from tests.support.prefect_command import reporting_to

    root = tmp_path_factory.mktemp("spoilt")
    survey, results = (root / "cosmicai-test" / name for name in ("survey", "results/test"))
    write_survey(survey, sizes=(20,) * (len(SPOILT) + 2))
    (root / "cosmicai-test" / "models").mkdir()
    shutil.copy(tiny_weights, root / "cosmicai-test" / "models" / "tiny.safetensors")
    for rank, spoil in SPOILT.items():
        spoil(survey / f"{rank + 1}.pt")
    with reporting_to(prefect_server), pytest.raises(RunIncomplete) as caught:
        run(request_of(), str(root), workers=0)
    return caught.value, results, survey


class TestARunOverBadPartitions:
    @pytest.mark.parametrize("rank", SPOILT, ids=[spoil.__name__ for spoil in SPOILT.values()])
    def test_bad_partition_fails_its_rank_naming_the_file(self, incomplete, rank):
        failed = next(each for each in incomplete[0].document["failed_ranks"] if each["rank"] == rank)
        assert failed["data_path"] == [f"survey/{rank + 1}.pt"]
        assert f"survey/{rank + 1}.pt" in failed["error"]
        assert "\n" not in failed["error"]

    def test_bad_partitions_leave_the_other_ranks_done(self, incomplete):
        error, results, survey = incomplete
        assert re.match(r".*7 of 9 ranks are missing \(rank 1: .*survey/2\.pt", str(error))
        assert (error.document["missing_ranks"], error.document["ranks_done"]) == (list(SPOILT), 2)
        assert {path.name for path in results.glob("[0-9]*.json")} == {"0.json", "8.json"}
        assert not (survey / "canary").exists()

    def test_bad_partitions_leave_partial_summaries_alone(self, incomplete):
        _, results, _ = incomplete
        assert not (results / "combined_data.json").exists()
        assert not (results / "predictions.parquet").exists()
        assert len(read_json(results / "combined_data.partial.json")) == 2
        assert "INCOMPLETE" in (results / "report.html").read_text()


def test_repaired_partition_completes_the_run(store, results):
    path = store / "cosmicai-test" / "survey" / "2.pt"
    whole = path.read_bytes()
    truncated(path)
    with pytest.raises(RunIncomplete):
        run(request_of(), str(store), workers=0)
    path.write_bytes(whole)
    document = run(request_of(), str(store), workers=0)
    assert (document["ranks_resumed"], document["ranks_done"]) == (3, 4)
    assert not list(results.glob("*partial*"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data_prefix": "nothing"}, "cosmicai-test/nothing"),
        ({"model": "models/none.safetensors"}, "models/none.safetensors"),
        ({"model": "survey/1.pt"}, r"survey/1\.pt|1\.pt"),
        ({"batch_size": 0}, "batch_size"),
        ({"script": "x.py"}, "script"),
        ({"partition": {"source": "/nowhere.pt", "size": 10}}, "nowhere"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence_without_a_write(store, changes, named):
    before = snapshot(store)
    with pytest.raises(BadInput, match=named) as caught:
        run(request_of(**changes), str(store), workers=0)
    assert "\n" not in str(caught.value)
    assert snapshot(store) == before


def test_run_in_a_region_without_a_price_is_done_and_its_bill_says_so(store):
    document = run(request_of(region="mars-1"), str(store), workers=0)
    assert (document["ranks_done"], document["cost"]["usd"]) == (4, None)
    assert "No price known for mars-1" in document["cost"]["how"]
    assert document["cost"]["items"][0]["quantity"] > 0
    report = (store / "cosmicai-test" / "results" / "test" / "report.html").read_text()
    assert "no price known for mars-1" in report


def test_read_only_store_is_refused_before_anything_else(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        run(request_of(), str(tmp_path / "file" / "store"), workers=0)
