from contextlib import contextmanager

import pytest

from flows.cli import emulated_store
from flows.cli.emulated_store import needed, upload
from inference.rank_results.publish_summary import run_lease
from inference.storage.store import Store


def test_needed_are_the_buckets_that_the_command_or_its_files_name(tmp_path):
    (tmp_path / "request.json").write_text('{"bucket": "survey-a", "data_bucket": "galaxies"}')
    buckets = ["galaxies", "galaxies-2", "survey", "survey-a"]
    assert needed(buckets, ["cosmic", "run", str(tmp_path / "request.json")]) == ["galaxies", "survey-a"]
    assert needed(buckets, ["cosmic", "metrics", "survey/results/first"]) == ["survey"]


def test_needed_are_all_buckets_where_the_command_names_none(tmp_path):
    assert needed(["galaxies", "survey"], ["bash", "x" * 5000, "a\0b"]) == ["galaxies", "survey"]


@pytest.mark.slow
def test_upload_leaves_leases_behind_and_skips_files_that_vanish(aws, tmp_path, monkeypatch):
    bucket = "cosmicai-in-use"
    source = Store(tmp_path)
    for key in ("results/test/0.json", "results/test/1.json", "survey.cosmic/incomplete", "survey/1.pt"):
        source.write(bucket, key, b"{}")
    run_lease(source, bucket, "results/test", "a living run").take(60)
    source.write(bucket, "results/test/.cosmic/00000001/summary.json", b"{}")

    @contextmanager
    def vanishing(label, total):
        yield lambda done: (tmp_path / bucket / "results" / "test" / "1.json").unlink(missing_ok=True)

    monkeypatch.setattr(emulated_store, "bar", vanishing)
    upload(tmp_path, [bucket])
    copied = [stored.key for stored in Store("s3://").list(bucket, "")]
    assert copied == ["results/test/0.json", "survey.cosmic/incomplete", "survey/1.pt"]
