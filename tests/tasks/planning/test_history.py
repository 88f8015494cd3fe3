import json
import time

from inference.rank_results.publish_summary import generation_folder, publish_summary, run_lease
from inference.storage.store import Store
from tasks.planning import history
from tasks.planning.history import past_runs, runs_elsewhere
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


def kept_in(store, *folders):
    for folder in folders:
        store.write("my-survey", f"{folder}/one/summary.json", json.dumps(document()).encode())


def test_runs_elsewhere_are_those_outside_the_folder(tmp_path):
    store = Store(tmp_path)
    kept_in(store, "mine", "mine-too", "theirs")
    runs, notes = runs_elsewhere(store, "my-survey", "mine")
    assert (len(runs), notes) == (2, [])
    assert runs_elsewhere(store, "my-survey", "mine", since=time.time() + 60)[0] == []


def test_runs_elsewhere_are_not_looked_for_in_a_full_bucket(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LISTED", 2)
    store = Store(tmp_path)
    kept_in(store, "a", "b", "c")
    runs, (note,) = runs_elsewhere(store, "my-survey", "mine")
    assert runs == []
    assert note == "my-survey has more than 2 objects: runs outside mine were not looked for"
