import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cli import main
from tests.support.surveys import write_survey

pytestmark = pytest.mark.slow
COSMIC = Path(sys.executable).with_name("cosmic")


def processes_of(marker):
    """Processes that have the marker in their environment: the command's own, and all that it started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and marker.encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def gone(marker):
    for _ in range(200):
        if not processes_of(marker):
            return True
        time.sleep(0.05)
    return False


def marked(tmp_path):
    """An environment by which every process of a test is found, with a temporary folder of its own."""
    (tmp_path / "tmp").mkdir()
    marker = f"COSMIC_MARK={tmp_path}"
    return marker, os.environ | {"COSMIC_MARK": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}


def test_command_finds_stack_and_its_buckets_and_what_it_wrote_is_kept(tmp_path):
    marker, environment = marked(tmp_path)
    write_survey(tmp_path / "store" / "cosmicai-test" / "survey")
    write_survey(tmp_path / "store" / "cosmicai-other" / "survey")
    code = """
import json, sys
from inference.storage.store import Store
from tasks.aws.session import client
keys = [stored.key for stored in Store("s3://").list("cosmicai-test", "survey")]
machine = client("stepfunctions").list_state_machines()["stateMachines"][0]["name"]
state = client("lambda").get_function_configuration(FunctionName="cosmic-executor")["State"]
print(json.dumps([keys, machine, state]))
for name in ("0.json", "report.html"):
    Store("s3://").write("cosmicai-test", f"results/first/{name}", b"{}")
sys.exit(7)
"""
    folders = ["--with", tmp_path / "store", "--keep", tmp_path / "kept"]
    command = [COSMIC, "emulate", *folders, "--", sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 7, ended.stderr
    survey = [f"survey/{number}.pt" for number in (1, 2, 3, 4)]
    assert json.loads(ended.stdout) == [survey, "cosmic-flows", "Active"]
    assert "stayed behind: cosmicai-other" in ended.stderr
    folder = tmp_path / "kept" / "cosmicai-test" / "results" / "first"
    kept = sorted(path for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert kept == [folder / "0.json", folder / "report.html"]
    assert f"report: {folder}/report.html" in "".join(ended.stderr.split("\n"))
    assert gone(marker)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_goes_with_the_emulator_is_named_with_the_way_to_keep_it():
    code = """
from tasks.aws.session import client
client("s3").create_bucket(Bucket="cosmicai-own")
client("s3").put_object(Bucket="cosmicai-own", Key="a", Body=b"")
"""
    ended = subprocess.run(
        [COSMIC, "emulate", "--", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    expected = "Gone with the emulator: 1 object that the command wrote; --keep FOLDER keeps them"
    assert expected in " ".join(ended.stderr.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.soak)])
def test_interrupted_emulator_leaves_no_process_and_keeps_what_was_written(tmp_path, number):
    marker, environment = marked(tmp_path)
    ready = tmp_path / "ready"
    code = f"""
import time, pathlib
from inference.storage.store import Store
from tasks.aws.session import client
client("lambda").invoke(FunctionName="cosmic-executor", Payload=b"{{}}")
Store("s3://").write("cosmicai-emulated", "results/0.json", b"{{}}")
pathlib.Path({str(ready)!r}).write_text("")
time.sleep(600)
"""
    process = subprocess.Popen(
        [COSMIC, "emulate", "--keep", tmp_path / "kept", "--", sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not ready.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to the command and to what it runs
    else:
        process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert "1 object that the command wrote" in process.stderr.read().decode()
    assert (tmp_path / "kept" / "cosmicai-emulated" / "results" / "0.json").read_bytes() == b"{}"
    assert gone(marker)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_that_can_be_no_bucket_is_refused_before_the_start(tmp_path, capsys):
    (tmp_path / "My Stuff").mkdir()
    assert main(["emulate", "--with", str(tmp_path), "--", "true"]) == 2
    assert "My Stuff must be a bucket name" in capsys.readouterr().err


def test_a_link_out_of_a_bucket_is_refused_before_the_start(tmp_path, capsys):
    (tmp_path / "store" / "cosmicai-test").mkdir(parents=True)
    (tmp_path / "store" / "cosmicai-test" / "out").symlink_to("/etc")
    assert main(["emulate", "--with", str(tmp_path / "store"), "--", "true"]) == 2
    assert "cosmicai-test/out lies behind a symbolic link" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name the command"),
        (["--"], "name the command"),
        (["--with", "/nowhere", "--", "true"], "no folder /nowhere"),
        (["--port", "0", "--", "true"], "--port"),
        (["--keep", "/proc/nowhere", "--", "true"], "the store /proc/nowhere cannot be written"),
        (["--", "no-such-command-here"], "no-such-command-here"),
    ],
)
def test_what_cannot_be_run_is_refused_with_exit_code_2(words, expected, capsys):
    assert main(["emulate", *words]) == 2
    assert expected in capsys.readouterr().err
