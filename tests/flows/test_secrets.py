"""Canary secrets are given to runs that go wrong; afterwards nothing that anybody can read holds one."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from flows.cli import main
from inference.storage.store import Store
from tests.support.surveys import request_of

pytestmark = pytest.mark.slow
BUCKET = "cosmicai-test"
CANARIES = {
    "AWS_ACCESS_KEY_ID": "AKIDOFTHETEST",
    "AWS_SECRET_ACCESS_KEY": "canary-secret/of+the=caller",
    "AWS_SESSION_TOKEN": "canary-session-of-the-caller",
    "GITHUB_TOKEN": "canary-token-of-something-else",
    "AWS_REGION": "us-east-1",
}
CARELESS = """
import json, os, sys
print(dict(os.environ))
print(json.dumps(dict(os.environ)), file=sys.stderr)
print("\\x1b[2Jgone", *(f"{name}={value}" for name, value in os.environ.items()), sep="\\n")
raise SystemExit(f"no luck: {os.environ['AWS_SECRET_ACCESS_KEY']}")
"""


@pytest.fixture
def cosmic(prefect_server, tmp_path):
    """Run the command; returns its exit code and all that it printed."""

    def run(request, *words, **environment):
        path = tmp_path / "request.json"
        path.write_text(json.dumps(request))
        ended = subprocess.run(
            [Path(sys.executable).with_name("cosmic"), "run", path, *words],
            env=os.environ | CANARIES | {"PREFECT_API_URL": prefect_server} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        return ended.returncode, ended.stdout + ended.stderr

    return run


def shown_by(prefect_server):
    """Everything that the server's API shows of runs: parameters, states, logs, artifacts and blocks."""
    texts = []
    for what in ("flow_runs", "task_runs", "logs", "artifacts", "block_documents"):
        offset, page = 0, [None]
        while page:
            asked = urllib.request.Request(
                f"{prefect_server}/{what}/filter",
                json.dumps({"offset": offset, "limit": 200}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(asked) as reply:
                text = reply.read().decode()
            page = json.loads(text)
            texts.append(text)
            offset += len(page)
    return "\n".join(texts)


def lying_in(folder):
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_failing_script_that_prints_its_environment_leaks_no_secret(cosmic, store, prefect_server):
    folder = store / BUCKET / "scripts"
    folder.mkdir()
    (folder / "run.py").write_text(CARELESS)
    request = {name: value for name, value in request_of(file_limit=1).items() if name != "model"}
    script = {"script": "/tmp/scripts/run.py", "S3_object_name": "scripts", "result_path": "results/careless"}
    code, printed = cosmic(request | script, "--store", str(store), "--verbose")
    assert code == 1, printed
    assert "no luck: ***" in printed, "the message must come through, or nothing is shown here"
    folder = store / BUCKET / "results" / "careless"
    assert b"no luck: ***" in lying_in(folder)
    server = shown_by(prefect_server)
    assert "results/careless" in server
    assert "no luck: ***" in server
    for text in (printed, server, lying_in(folder).decode("utf-8", "replace")):
        assert "canary" not in text
    assert "\x1b[2J" not in lying_in(folder).decode("utf-8", "replace") + server


def test_function_failing_with_its_environment_leaks_no_secret(
    cosmic, replaced, stack, aws, prefect_server, monkeypatch, prefect_api
):
    from prefect_aws import AwsCredentials

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "canary-of-the-block", "region_name": "us-east-1"}
    AwsCredentials(**keys).save("leaking", overwrite=True)
    replaced("leaking")
    request = request_of(result_path="results/leaking", file_limit=1)
    code, printed = cosmic(
        request,
        "--store",
        "s3://",
        "--executor",
        "lambda",
        "--aws-credentials",
        "leaking",
        "--verbose",
        AWS_ENDPOINT_URL=aws,
    )
    assert code == 1, printed
    assert "AWS_SECRET_ACCESS_KEY': '***" in printed
    store = Store("s3://")
    written = b"\n".join(store.read(BUCKET, each.key) for each in store.list(BUCKET, "results/leaking"))
    assert b"AWS_SECRET_ACCESS_KEY" in written
    server = shown_by(prefect_server)
    assert "results/leaking" in server
    assert "leaking" in server
    for text in (printed, server, written.decode("utf-8", "replace")):
        assert "canary" not in text
        assert "\x1b[2J" not in text


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize("executor", ["local", "lambda"])
def test_endpoint_with_a_password_is_refused_without_repeating_it(executor, tmp_path, monkeypatch, capsys):
    for name, value in (CANARIES | {"AWS_ENDPOINT_URL": "http://user:canary-of-the-address@127.0.0.1:9"}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "request.json").write_text(json.dumps(request_of()))
    assert main(["run", str(tmp_path / "request.json"), "--store", "s3://", "--executor", executor]) == 2
    printed = "".join(capsys.readouterr())
    assert "AWS_ENDPOINT_URL has a user or a password in it" in printed
    assert "canary" not in printed
