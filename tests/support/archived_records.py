"""Records as the replaced system wrote them (contract, "Rank result"), made up."""

import json

BITS = 164_160


def old_record(number=1, *, samples=1278, seconds=6.0, batch_size=512, prefix="25MB", result_path="result-25MB/1GB/1"):
    return {
        "total_cpu_time (seconds)": seconds,
        "total_cpu_memory (MB)": 17864.67,
        "execution_time (seconds/batch)": seconds * batch_size / samples,
        "num_batches": -(-samples // batch_size),
        "batch_size": batch_size,
        "device": "cpu",
        "throughput_bps": samples * BITS / seconds,
        "sample_persec": samples / seconds,
        "result_path": result_path,
        "data_path": f"{prefix}/{number}.pt",
    }


def old_run(path, count, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [old_record(number, **changes) for number in range(1, count + 1)]
    path.write_text(json.dumps(records))
    return records


def stats(*, samples=5113, seconds=20.0, batch_size=512):
    """Statistics as the replaced system's scripts for SLURM and for one machine wrote them: the rate is a list."""
    return {
        "total_execution_time (seconds)": seconds,
        "total_process_memory (MB)": 2100.0,
        "num_batches": -(-samples // batch_size),
        "batch_size": batch_size,
        "device": "cpu",
        "execution_time_per_batch": seconds * batch_size / samples,
        "throughput_bps": samples * BITS / seconds,
        "sample_persec": [samples / seconds],
    }


def slurm_job(folder, number, *files, **changes):
    """The `job_<number>.json` of a task that read these files."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"file_index": file, "stats": stats(**changes)} for file in files]
    (folder / f"job_{number}.json").write_text(json.dumps(entries))


SACCT = """\
JobID|Start|End|State|
77_0|2025-10-21T10:00:00|2025-10-21T10:01:00|COMPLETED|
77_0.batch|2025-10-21T10:00:00|2025-10-21T10:01:00|COMPLETED|
77_1|2025-10-21T10:00:30|2025-10-21T10:02:00|COMPLETED|
"""


def one_machine(folder, gigabytes, seconds_each=100.0):
    """What the script for one machine wrote: its figures since the start, at every gigabyte."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for count in range(1, gigabytes + 1):
        figures = stats(samples=52_224 * count, seconds=seconds_each * count)
        entries.append(figures | {"GB_processed": count})
        (folder / f"{count}.json").write_text(json.dumps(entries[-1]))
    (folder / "total.json").write_text(json.dumps(entries))
