import json

from inference.rank_results.publish_summary import generation_folder, publish_summary, run_lease
from inference.storage.store import Store
from tasks.planning.history import past_runs
from tests.tasks.planning.test_fit import document


def test_a_past_run_is_read_from_its_committed_summary(tmp_path):
    store, path = Store(tmp_path), "results/first"
    held = run_lease(store, "my-survey", path, "run").take(60)
    key = f"{generation_folder(path, held.generation)}/summary.json"
    store.write("my-survey", key, json.dumps(document(samples=(100, 200, 300))).encode())
    publish_summary(held, path)
    store.write("my-survey", f"{path}/summary.json", b"of a run that lost its lease")
    runs, notes = past_runs(store, "my-survey")
    assert ([len(run.ranks) for run in runs], notes) == ([3], [])


def test_a_damaged_summary_is_named_and_not_counted(tmp_path):
    store = Store(tmp_path)
    store.write("my-survey", "results/first/summary.json", b"{")
    runs, (note,) = past_runs(store, "my-survey")
    assert runs == []
    assert "my-survey/results/first/summary.json" in note
