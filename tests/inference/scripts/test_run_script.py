import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import boto3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.script import Script
from inference.errors import BadInput, BadPartition, RankFailed, StoreError
from inference.handler import lambda_handler
from inference.rank_results.gather import gather, read_result
from inference.scripts.download import INDEX, fetch, files_of, parse_index
from inference.scripts.process import Output, run_process
from inference.scripts.run_script import EVENT_KEYS, FOR_SCRIPTS, environment_of, run_script, script_hash, time_limit
from inference.storage.store import Store, StoredObject
from inference.worker import LocalContext
from tasks.staging.scripts import stage_folder
from tests.support.staged_scripts import (
    ANOMALY,
    BUCKET,
    NAME,
    RECORD,
    RESULT,
    WRITES_A_RESULT,
    local_store,
    put_data,
    put_folder,
    put_script,
    script_event,
)
from tests.support.surveys import SIZES, random_survey

PRINTS = "print('hello from the script')\n"


class Function:
    """Lambda's context of a function that has so many seconds left."""

    memory_limit_in_mb = 512
    aws_request_id = "request-1"

    def __init__(self, seconds):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return int(self.seconds * 1000)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "LAMBDA_TASK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def store(tmp_path, scratch):
    return local_store(tmp_path)


def run(store, event, context=None, **extra):
    return run_script(store, event, event.to_wire() | extra, context or LocalContext())


def keys_read(store, action):
    """Keys that the action downloads, according to the log."""
    log = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", log)
        action()
    return [line.split(" to ")[0].split("key: ")[1] for line in log.getvalue().splitlines() if "downloading" in line]


def seen_by(store, **extra):
    """The environment of a script, as it wrote it down itself."""
    return run(store, put_script(store, WRITES_A_RESULT), **extra).script_record["seen"]


# What a script of the replaced system finds


def test_a_staged_folder_with_modules_and_weights_runs_as_it_did(store, tmp_path):
    keys = put_data(store, tmp_path)
    put_folder(store)
    events = [script_event(store, rank=rank, world_size=4, data_paths=(key,)) for rank, key in enumerate(keys)]
    results = [run(store, event) for event in events]
    assert [result.samples for result in results] == list(SIZES)
    weights = np.fromfile(ANOMALY / "Fine_Tune_Model" / "weights.bin")
    for number, result in enumerate(results, 1):
        magnitudes = random_survey(SIZES[number - 1], seed=number)[1]
        redshifts = magnitudes @ weights[:5] + weights[5]
        assert result.script_record["mean_redshift"] == pytest.approx(redshifts.mean(), rel=1e-12)
        assert (result.engine, result.predictions_path, result.num_batches) == ("script", "", -(-len(redshifts) // 16))
    assert gather(store, events).results == tuple(results)


def test_the_handler_runs_the_script_that_an_event_names(store):
    event = put_script(store, WRITES_A_RESULT)
    reply = lambda_handler(event.to_wire(), LocalContext())
    assert (reply["engine"], reply["rank"], reply["sample_persec"]) == ("script", 3, RECORD["sample_persec"])
    assert json.loads(store.read(BUCKET, RESULT)) == reply


def test_the_log_lines_are_the_contracts_and_in_its_order(store, scratch, capsys):
    event = put_script(store, WRITES_A_RESULT + PRINTS)
    run(store, event)
    assert capsys.readouterr().out.splitlines() == [
        f"received: {event.to_wire()}",
        "parsing args",
        "executing script: one",
        f"s3key: one/run.py path: {scratch}/one filename: run.py",
        f"downloading key: one/run.py to {scratch}/one/run.py",
        "hello from the script",
        "executed script",
    ]


def test_a_warm_invocation_tells_every_object_and_downloads_none(store, capsys):
    event = put_script(store, WRITES_A_RESULT)
    run(store, event)
    store.delete(BUCKET, [RESULT])
    capsys.readouterr()
    run(store, event)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "received",
        "parsing args",
        "executing script",
        "s3key",
        "executed script",
    ]


def test_a_script_finds_the_contracts_keys_as_text_and_lists_as_json(store):
    event = dataclasses.replace(put_script(store, WRITES_A_RESULT), data_paths=("survey/1.pt", "survey/2.pt"))
    seen = run(store, event).script_record["seen"]
    assert (seen["RANK"], seen["WORLD_SIZE"], seen["BATCH_SIZE"]) == ("3", "8", "128")
    assert json.loads(seen["DATA_PATH"]) == ["survey/1.pt", "survey/2.pt"]
    assert seen["SCRIPT"] == "/tmp/one/run.py"
    assert (seen["S3_OBJECT_NAME"], seen["S3_OBJECT_TYPE"], seen["BUCKET"]) == ("one", "folder", BUCKET)
    assert seen["COSMIC_STORE"] == store.root


def test_a_script_keeps_the_workers_own_environment(store, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    seen = seen_by(store)
    assert seen["AWS_REGION"] == "eu-west-1"
    assert seen["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def test_no_key_but_the_contracts_gets_from_an_event_into_the_environment(store):
    seen = seen_by(store, LD_PRELOAD="/evil.so", PYTHONSTARTUP="/evil.py", rank="9", AWS_REGION="elsewhere")
    assert "LD_PRELOAD" not in seen
    assert "PYTHONSTARTUP" not in seen
    assert "fingerprint" not in seen
    assert seen.get("AWS_REGION") == os.environ.get("AWS_REGION")


def test_arguments_are_split_into_words_and_see_no_shell(store):
    code = WRITES_A_RESULT.replace("dict(os.environ)", "__import__('sys').argv[1:]")
    event = put_script(store, code)
    script = dataclasses.replace(event.script, arguments="--name 'two words' $(touch evil) ; x")
    result = run(store, dataclasses.replace(event, script=script))
    assert result.script_record["seen"] == ["--name", "two words", "$(touch", "evil)", ";", "x"]


def test_a_single_file_is_staged_and_run(store):
    store.write(BUCKET, "lone script.py", WRITES_A_RESULT.encode())
    store.write(BUCKET, "lone script.py-old/x.py", b"")
    listing = [store.head(BUCKET, "lone script.py")]
    script = Script(folder="lone script.py", entry="/tmp/lone script.py", kind="file", sha256=script_hash(listing))
    event = dataclasses.replace(script_event(store), script=script)
    assert run(store, event).samples == 20


def test_an_event_of_the_replaced_system_is_served_repeatedly(store):
    event = dataclasses.replace(put_script(store, WRITES_A_RESULT), fingerprint="")
    event = dataclasses.replace(event, script=dataclasses.replace(event.script, sha256=""))
    wire = {name: value for name, value in event.to_wire().items() if name in EVENT_KEYS}
    first, second = (run_script(store, event, wire, None) for _ in range(2))
    assert second.started_at > first.started_at


def test_libraries_of_a_function_are_on_its_scripts_path(monkeypatch):
    monkeypatch.setenv("LAMBDA_TASK_ROOT", "/var/task")
    monkeypatch.setenv("PYTHONPATH", "/var/runtime")
    assert environment_of({}, Path("/x"), "s3://")["PYTHONPATH"] == f"/var/runtime:/var/task:{FOR_SCRIPTS}"


# What it may not


def test_packages_of_a_script_that_have_our_names_are_its_own(store, monkeypatch):
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(Path(__file__).parents[3]))
    name = f"named{os.getpid()}"
    for key in ("inference/__init__.py", "inference/net.py", "tasks.py"):
        store.write(BUCKET, f"{name}/{key}", b"")
    text = f"import sys\nsys.path.append('/tmp/{name}')\nfrom inference import net\nimport tasks\n"
    text += f"assert net.__file__ == '/tmp/{name}/inference/net.py', net.__file__\n" + WRITES_A_RESULT
    store.write(BUCKET, f"{name}/code/run.py", text.encode())
    event = script_event(store, f"/tmp/{name}/code/run.py", name)
    assert run(store, event).rank == 3


def test_a_prefix_that_is_the_start_of_another_takes_only_its_own(store):
    event = put_script(store, WRITES_A_RESULT)
    put_script(store, WRITES_A_RESULT, "one-old")
    assert keys_read(store, lambda: run(store, event)) == ["one/run.py"]


def test_a_value_that_no_environment_can_hold_is_refused_by_name(store):
    event = put_script(store, PRINTS)
    for value in ("a\0b", "\ud800"):
        with pytest.raises(BadInput, match="BATCH_SIZE cannot be put into an environment"):
            run(store, event, BATCH_SIZE=value)


def test_more_than_an_environment_can_hold_fails_the_rank_in_a_sentence(store):
    with pytest.raises(RankFailed, match="cannot be started: Argument list too long"):
        run(store, put_script(store, PRINTS), DATA_PATH=["x" * 300_000])


def test_a_script_that_is_not_in_its_folder_is_refused_by_name(store):
    event = put_script(store, PRINTS)
    script = dataclasses.replace(event.script, entry="/tmp/one/other.py")
    with pytest.raises(BadInput, match=r"SCRIPT: there is no one/other\.py in cosmicai-test"):
        run(store, dataclasses.replace(event, script=script))


def test_a_script_that_has_changed_since_the_plan_is_not_run(store):
    event = put_script(store, WRITES_A_RESULT)
    store.write(BUCKET, "one/extra.py", b"")
    with pytest.raises(BadInput, match="one has changed since the run was planned"):
        run(store, event)
    assert store.head(BUCKET, RESULT) is None


def test_a_changed_or_missing_partition_fails_the_rank(store):
    event = dataclasses.replace(put_script(store, WRITES_A_RESULT), data_etags=("planned",))
    with pytest.raises(BadPartition, match=r"survey/4\.pt is gone"):
        run(store, event)
    store.write(BUCKET, "survey/4.pt", b"other")
    with pytest.raises(BadPartition, match=r"survey/4\.pt has changed"):
        run(store, event)


def test_credentials_never_reach_the_log_nor_the_message(store, monkeypatch, capsys):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "whisper")
    event = put_script(store, "import os; print(dict(os.environ)); raise SystemExit(1)")
    with pytest.raises(RankFailed) as failure:
        run(store, event, token="of-somebody")
    log = capsys.readouterr().out
    for secret in ("hush-hush", "whisper", "of-somebody"):
        assert secret not in log
        assert secret not in str(failure.value)
    assert "'token': '...'" in log


# Keys


def stored(key, size=1):
    return StoredObject(key, size, "e")


def test_what_consoles_write_down_for_a_folder_is_no_file():
    listing = [
        stored("F/sub", 0),
        stored("F/", 0),
        stored("F/sub/", 0),
        stored("F/sub/x.py"),
        stored("F/__init__.py", 0),
    ]
    assert [file.key for file in files_of("F", listing)] == ["F/sub/x.py", "F/__init__.py"]


@pytest.mark.parametrize("key", ["F/../x.py", "/F/x.py", "F//x.py", "F/./x.py", "F/a\nb", "F\\x", "F-old/x.py", "G"])
def test_a_key_that_would_leave_the_folder_is_refused_by_name(key):
    with pytest.raises(BadInput, match="key"):
        files_of("F", [stored(key)])


def test_a_key_that_is_a_file_and_a_folder_is_refused_by_name():
    with pytest.raises(BadInput, match=r"'F/a' is a file and a folder at once"):
        files_of("F", [stored("F/a"), stored("F/a/b.py")])


@given(st.lists(st.text(st.sampled_from("aF/.\\ ü\n"), min_size=1, max_size=12)))
def test_whatever_the_keys_no_file_leaves_its_folder(keys):
    try:
        found = files_of("F", [stored(key) for key in keys])
    except BadInput:
        return
    for file in found:
        assert Path("/scratch/F") in [path := Path(os.path.normpath(f"/scratch/{file.key}")), *path.parents]


def test_a_folders_hash_is_of_keys_and_content_in_any_order():
    one, two = StoredObject("F/1", 1, "a"), StoredObject("F/2", 1, "b")
    assert script_hash([one, two]) == script_hash([two, one])
    others = [
        [one],
        [one, StoredObject("F/2", 1, "c")],
        [one, StoredObject("F/3", 1, "b")],
        [one, StoredObject("F/2", 2, "b")],
    ]
    assert len({script_hash(listing) for listing in [[one, two], *others]}) == 5


# Warm copies


def rerun(store, name="one"):
    """Run the folder as it lies there now, as another run; the keys that were downloaded."""
    event = dataclasses.replace(script_event(store, f"/tmp/{name}/run.py", name), fingerprint="")
    return keys_read(store, lambda: run(store, event))


def test_only_what_has_changed_in_the_bucket_is_downloaded_again(store):
    put_script(store, WRITES_A_RESULT)
    store.write(BUCKET, "one/sub folder/weights.bin", b"1" * 1000)
    assert rerun(store) == ["one/run.py", "one/sub folder/weights.bin"]
    assert rerun(store) == []
    store.write(BUCKET, "one/sub folder/weights.bin", b"2" * 1000)
    assert rerun(store) == ["one/sub folder/weights.bin"]


@pytest.mark.parametrize("harm", ["delete", "alter", "link"])
def test_a_copy_that_was_deleted_or_altered_here_is_downloaded_again(store, scratch, harm):
    put_script(store, WRITES_A_RESULT)
    rerun(store)
    copy = scratch / "one" / "run.py"
    if harm == "alter":
        copy.write_text("raise SystemExit(9)")
    else:
        copy.unlink()
    if harm == "link":
        copy.symlink_to(scratch / "elsewhere")
    assert rerun(store) == ["one/run.py"]
    assert copy.read_text() == WRITES_A_RESULT
    assert not copy.is_symlink()


def test_a_damaged_index_costs_a_download_and_nothing_else(store, scratch):
    put_script(store, WRITES_A_RESULT)
    rerun(store)
    (scratch / INDEX).write_bytes(b"{")
    assert rerun(store) == ["one/run.py"]


def test_a_module_that_was_removed_from_the_folder_is_not_found_any_more(store, scratch):
    finds = "import importlib.util\nassert bool(importlib.util.find_spec('part')) is %s\n" + WRITES_A_RESULT
    store.write(BUCKET, "one/part/__init__.py", b"")
    put_script(store, finds % True)
    rerun(store)
    own = scratch / "one" / "made by the script.txt"
    own.write_text("stays")
    store.delete(BUCKET, ["one/part/__init__.py"])
    put_script(store, finds % False)
    rerun(store)
    assert not (scratch / "one" / "part").exists()
    assert own.read_text() == "stays"


def test_a_changed_module_of_the_same_size_is_not_taken_as_compiled(store):
    put_script(store, WRITES_A_RESULT.replace("dict(os.environ)", "__import__('part').X"))
    for value in (1, 2):
        store.write(BUCKET, "one/part.py", f"X = {value}".encode())
        rerun(store)
        assert json.loads(store.read(BUCKET, RESULT))["seen"] == value


def test_folders_of_the_same_name_in_two_buckets_are_told_apart(store):
    event = put_script(store, WRITES_A_RESULT)
    store.write("cosmicai-other", "one/run.py", WRITES_A_RESULT.encode())
    other = dataclasses.replace(event, bucket="cosmicai-other", fingerprint="")
    other = dataclasses.replace(other, script=dataclasses.replace(event.script, sha256=""))
    assert keys_read(store, lambda: run(store, event)) == ["one/run.py"]
    assert keys_read(store, lambda: run(store, other)) == ["one/run.py"]
    assert rerun(store) == ["one/run.py"]


def test_a_link_in_scratch_that_leads_elsewhere_is_not_written_through(store, scratch, tmp_path):
    (tmp_path / "home").mkdir()
    (scratch / "one").symlink_to(tmp_path / "home")
    with pytest.raises(BadInput, match="leads out of"):
        run(store, put_script(store, PRINTS))
    assert list((tmp_path / "home").iterdir()) == []


def test_a_copy_that_cannot_be_written_fails_the_rank_by_name(store, scratch):
    (scratch / "one").write_text("in the way")
    with pytest.raises(RankFailed, match=r"one/run\.py cannot be kept in"):
        run(store, put_script(store, PRINTS))


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_whatever_an_index_holds_its_keys_stay_in_scratch(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    for key, entry in parse_index(data).items():
        assert ".." not in key.split("/")
        assert not key.startswith("/")
        assert isinstance(entry, list)


# Scripts that fail


def failure_of(store, text, context=None):
    with pytest.raises(RankFailed) as failure:
        run(store, put_script(store, text), context)
    return str(failure.value)


def test_a_script_that_fails_fails_its_rank_with_its_last_lines(store, capsys):
    message = failure_of(store, "for n in range(50): print('line', n)\nraise ValueError('no such galaxy')")
    assert message.startswith("the script ended with exit code 1; its last lines:\n")
    assert message.endswith("ValueError: no such galaxy")
    assert "line 49" in message
    assert "line 0\n" not in message
    assert len(message.splitlines()) == 21
    log = capsys.readouterr().out
    assert "line 0\n" in log
    assert "executed script" not in log


def test_a_script_that_fails_after_writing_its_result_fails_its_rank(store):
    message = failure_of(store, WRITES_A_RESULT + "raise SystemExit(3)")
    assert message == "the script ended with exit code 3; it printed nothing"
    assert read_result(store, put_script(store, WRITES_A_RESULT + "raise SystemExit(3)")) is None


def test_a_script_that_is_killed_fails_its_rank_by_the_signals_name(store):
    message = failure_of(store, "import os; os.kill(os.getpid(), 9)")
    assert message == "the script was killed by SIGKILL: out of memory?; it printed nothing"
    assert "killed by SIGTERM" in failure_of(store, "import os; os.kill(os.getpid(), 15)")
    assert "killed by signal 40" in failure_of(store, "import os; os.kill(os.getpid(), 40)")


def test_a_script_that_hangs_is_stopped_in_time_for_the_function_to_tell(store):
    message = failure_of(store, "import time\nprint('waiting for godot')\ntime.sleep(600)", Function(2.5))
    assert message == "the script ran longer than 2 s and was stopped; its last lines:\nwaiting for godot"


def test_a_script_is_given_what_its_function_has_left_less_a_margin():
    assert time_limit(Function(900)) == 895
    assert time_limit(Function(5)) == 4
    assert time_limit(None) == 3600
    assert 3590 <= time_limit(LocalContext()) <= 3595


def test_children_of_a_script_that_hangs_are_stopped_with_it(store, tmp_path):
    pid = tmp_path / "pid"
    failure_of(
        store,
        f"import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\ntime.sleep(600)",
        Function(2.5),
    )
    wait_until_gone(int(pid.read_text()))


def test_a_daemon_that_a_script_leaves_behind_holds_nobody_up(store, tmp_path):
    pid = tmp_path / "pid"
    daemon = f"import subprocess\nopen({str(pid)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
    assert run(store, put_script(store, daemon + WRITES_A_RESULT)).samples == 20
    wait_until_gone(int(pid.read_text()))


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({pid!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not (os.path.exists({pid!r}) and open({pid!r}).read()):
    time.sleep(0.01)
"""


def test_a_daemon_in_a_session_of_its_own_ends_with_its_rank(store, tmp_path):
    pid = tmp_path / "pid"
    assert run(store, put_script(store, DAEMON.format(pid=str(pid)) + WRITES_A_RESULT)).samples == 20
    wait_until_gone(int(pid.read_text()))


def test_a_daemon_in_a_session_of_its_own_ends_with_its_worker(tmp_path):
    pid = tmp_path / "pid"
    kill_worker_of(DAEMON.format(pid=str(pid)) + "time.sleep(600)", pid)
    wait_until_gone(int(pid.read_text()))


def test_a_script_does_not_outlive_its_worker(tmp_path):
    pid = tmp_path / "pid"
    kill_worker_of(f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)", pid)
    wait_until_gone(int(pid.read_text()))


def kill_worker_of(script, pid):
    """Run a script in a worker of its own, and kill the worker once the file `pid` has been written."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom inference.scripts.process import run_process\n"
        f"run_process([sys.executable, '-c', {script!r}], Path('/'), dict(os.environ), 600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    while not (pid.exists() and pid.read_text()):
        assert worker.poll() is None
        time.sleep(0.01)
    worker.kill()
    worker.wait()


def wait_until_gone(pid):
    """Until the process has ended; a zombie that nobody waits for has."""
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.01)


def test_a_script_that_writes_no_result_fails_its_rank_with_its_last_lines(store):
    message = failure_of(store, PRINTS)
    assert message == (
        "rank 3: the script ended well but wrote no result results/test/3.json; its last lines:\nhello from the script"
    )


def test_a_result_that_lacks_the_contracts_keys_fails_the_rank(store):
    message = failure_of(store, WRITES_A_RESULT.replace("sample_persec", "speed") + PRINTS)
    assert "lacks 'sample_persec'" in message
    assert message.endswith("hello from the script")


@pytest.fixture
def apart(store):
    """A data bucket of its own, with the survey, and what a script's event has of it."""
    for stored in store.list(BUCKET, "survey"):
        store.write("their-data", stored.key, store.read(BUCKET, stored.key))
    return {"data_bucket": "their-data"}


def test_a_result_that_a_script_writes_to_the_data_bucket_is_found(store, apart):
    event = put_script(store, WRITES_A_RESULT.replace("RESULT_BUCKET", "DATA_BUCKET"), **apart)
    result = run_script(store, event, event.to_wire(), None)
    assert result.samples == 20
    assert read_result(store, event) == result, "it lies where a rank's result belongs"


def test_a_stale_result_in_the_data_bucket_never_passes_for_this_runs(store, apart):
    store.write("their-data", RESULT, json.dumps(RECORD).encode())
    event = put_script(store, PRINTS, **apart)
    with pytest.raises(RankFailed, match="wrote no result"):
        run_script(store, event, event.to_wire(), None)


def test_a_result_that_is_a_list_of_one_record_is_that_record(store):
    listed = WRITES_A_RESULT.replace("json.dumps(", "json.dumps([").replace("dict(os.environ)}", "dict(os.environ)}]")
    event = put_script(store, listed)
    assert run_script(store, event, event.to_wire(), None).samples == 20


def test_a_result_that_is_a_list_of_several_records_is_their_sum(store):
    text = WRITES_A_RESULT.replace("json.dumps(", "json.dumps(2 * [").replace("dict(os.environ)}", "dict(os.environ)}]")
    assert run(store, put_script(store, text)).samples == 40


def test_a_stale_result_never_passes_for_this_runs(store):
    store.write(BUCKET, RESULT, json.dumps(RECORD).encode())
    assert "wrote no result" in failure_of(store, PRINTS)
    assert store.head(BUCKET, RESULT) is None


def test_a_rank_that_is_done_is_not_run_again(store, capsys):
    event = put_script(store, WRITES_A_RESULT)
    first = run(store, event)
    put_script(store, "raise SystemExit(1)")
    capsys.readouterr()
    assert run(store, event) == first
    assert "executing script" not in capsys.readouterr().out


def test_output_that_is_no_text_is_survived(store):
    message = failure_of(
        store, "import os; os.write(1, bytes(range(256)) * 2000); os.write(2, b'\\xff end'); raise SystemExit(1)"
    )
    assert message.endswith("� end")


def test_a_script_that_prints_without_end_needs_no_memory_for_it(store, tmp_path):
    environment = {"PATH": os.environ["PATH"]}
    code = "import os\nwhile True: os.write(1, b'x' * 60000)"
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open("w") as nowhere:
        patch.setattr(sys, "stdout", nowhere)
        ended = run_process([sys.executable, "-c", code], tmp_path, environment, 0.5)
    assert ended.late
    assert 0 < len(ended.tail) < 10_000


def test_of_a_progress_bar_only_the_last_state_is_kept(store):
    message = failure_of(
        store, "print(' 10%\\r 20%\\r100%'); print('a line of Windows', end='\\r\\n'); raise SystemExit(1)"
    )
    assert message.splitlines()[1:] == ["100%", "a line of Windows"]


@given(st.lists(st.binary()))
def test_whatever_a_script_prints_is_passed_on_and_its_tail_is_bounded(chunks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            os.set_blocking(reading, False)
            output = Output(pipe)
            for chunk in chunks:
                os.write(writing, chunk)
                output.take()
            os.close(writing)
            output.finish()
        assert sys.stdout.getvalue().count("\n") >= b"".join(chunks).count(b"\n")
    assert len(output.tail().encode()) <= 20 * (400 * 4 + 1)


def test_a_log_whose_encoding_lacks_a_letter_is_written_all_the_same(store, monkeypatch):
    log = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(log, encoding="ascii", write_through=True))
    run(store, put_script(store, WRITES_A_RESULT + "print('z\\u00fcnden')"))
    assert b"z?nden" in log.getvalue()


# What is measured


def test_what_the_script_took_is_in_its_result(store):
    busy = "import time\nx = bytearray(200_000_000)\nwhile time.process_time() < 0.3: pass\n"
    result = run_script(
        store, event := put_script(store, busy + WRITES_A_RESULT), event.to_wire(), Function(600), cold=True
    )
    assert result.cpu_total_s >= 0.3
    assert result.wall_compute_s > 0
    assert result.wall_load_s > 0
    assert result.wall_total_s >= result.wall_compute_s + result.wall_load_s
    assert result.peak_rss_mb > 200
    assert (result.cold, result.request_id, result.memory_limit_mb) == (True, "request-1", 512)
    assert result.store_requests == len(store.requests) - 1, "the writing of the result itself is not in it"


def test_a_small_script_of_a_large_worker_is_reported_small(store):
    worker = np.ones(40_000_000)  # 320 MB
    result = run(store, put_script(store, WRITES_A_RESULT + "__import__('time').sleep(0.3)"))
    assert worker.nbytes / 1e6 > 10 * result.peak_rss_mb > 10


def test_an_object_that_vanishes_after_listing_is_named(store):
    put_script(store, PRINTS)
    listing = store.list(BUCKET, "one")
    store.delete(BUCKET, ["one/run.py"])
    with pytest.raises(StoreError, match=r"cosmicai-test/one/run\.py"):
        fetch(store, BUCKET, "one", listing, Path(tempfile.gettempdir()))


# Over S3


@pytest.fixture
def bucket(aws):
    """An S3 bucket of the test's own, emptied afterwards."""
    s3 = boto3.client("s3")
    name = f"cosmicai-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    yield name
    listed = s3.list_objects_v2(Bucket=name).get("Contents", [])
    for entry in listed:
        s3.delete_object(Bucket=name, Key=entry["Key"])
    s3.delete_bucket(Bucket=name)


@pytest.mark.slow
def test_a_boto3_script_over_s3_is_not_fetched_again(bucket, scratch, tmp_path):
    store = Store("s3://")
    keys = put_data(store, tmp_path, bucket)
    for marker in (f"{NAME}/", f"{NAME}/blocks/", f"{NAME}/empty folder/"):
        boto3.client("s3").put_object(Bucket=bucket, Key=marker, Body=b"")
    assert stage_folder(store, bucket, NAME, ANOMALY).uploaded == 4
    assert stage_folder(store, bucket, NAME, ANOMALY).unchanged == 4
    etag = store.head(bucket, keys[1]).etag
    places = {"bucket": bucket, "result_bucket": bucket, "data_bucket": bucket}
    event = script_event(store, **places, rank=1, data_paths=(keys[1],), data_etags=(etag,))
    downloads, requests = [], []
    for _ in range(2):
        store.requests = []
        downloads.append(keys_read(store, lambda: run(store, event)))
        requests.append(store.requests)
        result = read_result(store, event)
        store.delete(bucket, ["results/test/1.json"])
    assert [len(keys) for keys in downloads] == [4, 0]
    assert result.samples == SIZES[1]
    assert (scratch / NAME / "empty folder").is_dir()
    weights = (ANOMALY / "Fine_Tune_Model" / "weights.bin").read_bytes()
    assert len(weights) in [request.bytes_read for request in requests[0]]
    assert len(weights) not in [request.bytes_read for request in requests[1]]
