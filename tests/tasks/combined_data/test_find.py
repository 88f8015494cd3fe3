import json
import threading
from contextlib import suppress

import pytest

from benchmarks.support.slow_s3 import ENVIRONMENT, SlowS3
from inference.storage.store import Store
from tasks.combined_data.find import find_stored_runs
from tests.support.archived_records import old_record, stats

TOGETHER = 4
COUNT = 3 * TOGETHER


class PatientS3(SlowS3):
    """Objects that are given out when so many have been asked for at once; one that is asked for alone is not there."""

    def before(self, span, headers):
        if len(self.gets) == 1:  # which tells whose run it is
            return None
        with suppress(threading.BrokenBarrierError):
            self.asked.wait(10)
            return None
        return 404


RANKS = {f"{n}.json": old_record(n + 1) for n in range(COUNT)}
TASKS = {f"job_{n}.json": [{"file_index": n, "stats": stats()}] for n in range(COUNT)}


@pytest.mark.parametrize(("files", "read_before"), [(RANKS, 0), (TASKS, 1)])
def test_ranks_without_a_summary_are_read_side_by_side(monkeypatch, files, read_before):
    server = PatientS3({f"my-bucket/run/{name}": json.dumps(content).encode() for name, content in files.items()})
    server.asked, server.gets = threading.Barrier(TOGETHER), [None] * read_before
    with server.serving():
        for variable, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server.url}).items():
            monkeypatch.setenv(variable, value)
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        (run,) = find_stored_runs(Store("s3://"), "my-bucket", "run")
    assert len(run.records) == COUNT
    assert len({record.data_paths for record in run.records}) == COUNT
