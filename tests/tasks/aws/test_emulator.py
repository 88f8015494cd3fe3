import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from inference.errors import BadInput
from tasks.aws.emulator import emulated, emulated_here, environment, inherited, is_emulated
from tests.flows.cli.commands.test_emulate import gone, marked

WORK = """
import pathlib, sys, time
from tasks.aws.emulator import emulated
with emulated() as endpoint:
    pathlib.Path(sys.argv[1]).write_text(endpoint)
    time.sleep(600)
"""


def test_nothing_in_the_environment_leads_a_client_elsewhere():
    kept = inherited(
        {
            "PATH": "/bin",
            "AWS_PROFILE": "work",
            "AWS_SESSION_TOKEN": "token",
            "AWS_ENDPOINT_URL_S3": "https://elsewhere",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        }
    )
    assert kept == {"PATH": "/bin"}
    assert environment("http://127.0.0.1:1")["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"


def test_emulator_is_known_by_its_own_mark_and_not_by_an_endpoint(monkeypatch):
    for name in ("COSMIC_EMULATOR", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://vpce-1.s3.eu-west-1.vpce.amazonaws.com")
    assert not is_emulated()
    for name, value in environment("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    assert is_emulated()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere")
    assert not is_emulated()


def test_emulator_here_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    before = dict(os.environ)
    with emulated_here() as endpoint:
        assert (os.environ["AWS_ENDPOINT_URL"], "AWS_PROFILE" in os.environ) == (endpoint, False)
    assert dict(os.environ) == before


def test_emulator_is_exempt_from_the_proxy_beside_other_exceptions(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
    assert environment("http://127.0.0.1:1")["NO_PROXY"] == "example.org,127.0.0.1"


def test_emulator_refuses_a_port_that_another_server_has():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with pytest.raises(BadInput, match=f"cannot have port {server.server_port}"), emulated(server.server_port):
            pass
    finally:
        server.shutdown()
        server.server_close()


def test_without_the_emulator_the_message_says_what_to_install():
    code = """
import sys
sys.modules["ministack"] = None
from tasks.aws.emulator import emulated
with emulated():
    pass
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "pip install 'cosmic-flows[emulator]'" in ended.stderr


@pytest.mark.slow
def test_it_listens_on_this_machine_only_behind_whatever_proxy(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with emulated() as endpoint:
        port = int(endpoint.rpartition(":")[2])
        listening = [
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]
        assert listening == [f"0100007F:{port:04X}"]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


@pytest.mark.slow
def test_it_is_gone_with_its_folder_when_the_work_fails(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), emulated() as endpoint:
        assert len(list(tmp_path.iterdir())) == 1
        raise ZeroDivisionError
    with pytest.raises(OSError), urllib.request.urlopen(endpoint, timeout=5):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_again_and_again_leaves_nothing_behind_either(tmp_path):
    marker, environ = marked(tmp_path)
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, ready],
        env=environ,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not ready.exists():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
        process.send_signal(signal.SIGINT)
    assert gone(marker)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_emulator_of_a_killed_process_ends_with_it(tmp_path):
    marker, environ = marked(tmp_path)
    ready = tmp_path / "ready"
    with subprocess.Popen([sys.executable, "-c", WORK, ready], env=environ) as process:
        while not ready.exists():
            assert process.poll() is None
        process.kill()
    assert gone(marker)
