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
