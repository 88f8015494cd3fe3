"""A run that sleeps while it combines its results, and wakes when another one has taken over and ended."""

import dataclasses
import json
import signal
import time

import pytest

from inference.rank_results.publish_summary import SUMMARIES, run_lease
from tests.support.run_harness import local_run

pytestmark = pytest.mark.soak


@pytest.fixture
def harness(store, tmp_path, prefect_server):
    return local_run(tmp_path / "run", store / "cosmicai-test", prefect_server)


def stop_while_combining(process, folder):
    """Stop the process when the first of its summaries is written, before any of them counts."""
    while not list(folder.glob(".cosmic/*/combined_data.json")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    assert not (folder / "summary.json").exists(), "it was stopped too late; try again"


def test_run_that_slept_while_it_combined_changes_nothing_when_it_wakes(harness):
    folder = harness.folder / "store" / "cosmicai-test" / harness.path
    stopped = harness.start("stopped")
    try:
        stop_while_combining(stopped, folder)
        lease = run_lease(harness.store, "cosmicai-test", harness.path, "")
        lease.append(dataclasses.replace(lease.newest(), seconds=0.0))  # in place of a minute's waiting
        document = harness.end(harness.start("other", {"batch_size": 7}), "other")
        before = {name: (folder / name).read_bytes() for name in SUMMARIES if (folder / name).exists()}
    finally:
        stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(timeout=200) == 1
    shown = (harness.folder / "errstopped").read_text()
    assert f"was taken over by run {document['run_id']}" in shown
    assert {name: (folder / name).read_bytes() for name in SUMMARIES if (folder / name).exists()} == before
    assert before.keys() == {"combined_data.json", "predictions.parquet", "summary.json", "report.html"}
    assert json.loads(before["summary.json"])["request"]["batch_size"] == 7
    assert harness.end(harness.start("again", {"batch_size": 7}), "again") == document
