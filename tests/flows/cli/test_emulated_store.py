from contextlib import contextmanager

import pytest

from flows.cli import emulated_store
from flows.cli.emulated_store import keep, needed, objects_on_s3, upload
from inference.errors import StoreError
from inference.rank_results.publish_summary import run_lease
from inference.storage.store import Store
from tasks.aws.session import client


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


@pytest.mark.slow
def test_keep_copies_all_that_can_be_kept_and_names_the_first_that_cannot(aws, tmp_path):
    bucket, s3 = "cosmicai-odd-keys", client("s3")
    s3.create_bucket(Bucket=bucket)
    for key in ("../../a", "/b", "c/./d", "linked/e", "results/0.json", "results/0.json/f", "z", "folder/"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    made = [each for each in objects_on_s3() if each[0] == bucket]
    kept, outside = tmp_path / "kept", tmp_path / "outside"
    (kept / bucket).mkdir(parents=True)
    outside.mkdir()
    (kept / bucket / "linked").symlink_to(outside)
    with pytest.raises(StoreError, match=r"--keep: 5 of 7 objects could not be kept in .*, the first because .*'\.\.'"):
        keep(made, kept)
    assert sorted(path.name for path in (kept / bucket).rglob("*") if path.is_file()) == ["0.json", "z"]
    assert list(outside.iterdir()) == []
