import json

import pytest

from inference.errors import BadInput
from tasks.reproduction.digest import digest_of, published

RECORD = {
    "total_cpu_time (seconds)": 2.0,
    "total_cpu_memory (MB)": 100.0,
    "batch_size": 512,
    "throughput_bps": 512 * 164_160 / 2,
    "sample_persec": 256.0,
    "result_path": "result-partition-25MB/1GB/1",
    "data_path": "25MB/1.pt",
}


@pytest.fixture
def files(tmp_path):
    """The published files, with few lines each."""
    (tmp_path / "seed_tables.json").write_text('{"what": "a note", "local_vs_aws": {"rows": []}}')
    (tmp_path / "combined_25MB_1GB_run1.json").write_text(json.dumps([RECORD, RECORD | {"data_path": "25MB/2.pt"}]))
    (tmp_path / "map_phase_means.csv").write_text("partition_mb,data_gb,map_phase_s\n25,1.0,18.5\n")
    (tmp_path / "total_execution_time.csv").write_text(
        "partition(MB),data(GB),run,num_worlds,duration\n25,1.0,1,41.0,00:20.5\n25,1.0,2,41.0,01:00.25\n"
    )
    (tmp_path / "cloudwatch_log_lines.txt").write_text(
        "t - REPORT RequestId: a  Duration: 3000.00 ms  Billed Duration: 3700 ms  Memory Size: 10240 MB"
        "  Max Memory Used: 500 MB  Init Duration: 700.00 ms\n"
        "t - REPORT RequestId: b  Duration: 1000.00 ms  Billed Duration: 1000 ms  Memory Size: 10240 MB"
        "  Max Memory Used: 600 MB\n"
    )
    return tmp_path


def test_digest_sums_up_the_published_files(files):
    found = digest_of(files)
    (run,) = found["runs"]
    assert (run["partition_mb"], run["data_gb"], run["records"], run["samples"]) == (25, 1.0, 2, 1024)
    assert (run["batch_s"], run["seconds"], run["sum_of_rates_bps"]) == pytest.approx((2.0, 4.0, 512 * 164_160))
    assert found["end_to_end"] == [{"partition_mb": 25, "data_gb": 1.0, "ranks": 41, "seconds": [20.5, 60.25]}]
    assert found["invocations"] == {
        "file": "cloudwatch_log_lines.txt",
        "reports": 2,
        "duration_s": 2.0,
        "billed_s": 2.35,
        "max_memory_mb": 600.0,
        "init_s": [0.7],
    }
    assert "what" not in found["printed"]


def test_digest_of_a_damaged_file_is_refused_by_name(files):
    (files / "combined_25MB_1GB_run1.json").write_text("{")
    with pytest.raises(BadInput, match="combined_25MB_1GB_run1"):
        digest_of(files)


def test_shipped_digest_holds_what_the_docs_say_of_the_files():
    runs = {run["file"]: run for run in published()["runs"]}
    small, large = runs["combined_25MB_12.6GB_run1.json"], runs["combined_50MB_12.6GB_run1.json"]
    assert [small[key] for key in ("records", "samples", "bits")] == [517, 659_817, pytest.approx(108_315_558_720)]
    assert small["sum_of_rates_bps"] / 1e9 == pytest.approx(17.677, abs=5e-4)
    assert (small["batch_s"], large["batch_s"]) == pytest.approx((2.336, 2.221), abs=5e-4)
