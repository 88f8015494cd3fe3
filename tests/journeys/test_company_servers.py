"""Runs against Prefect servers as companies have them: TLS, a private CA, a header, basic auth, a proxy, load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.conftest import free_port
from tests.support.company_front import front, make_certificate
from tests.support.prefect_command import started_server
from tests.support.surveys import request_of

pytestmark = pytest.mark.soak
COSMIC = str(Path(sys.executable).with_name("cosmic"))
LOGIN = "team:secret"
HOST = "prefect.example.org"  # which only the proxy knows


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Port of a server with basic auth."""
    port = free_port()
    with started_server(tmp_path_factory.mktemp("server"), port, PREFECT_SERVER_API_AUTH_STRING=LOGIN):
        yield port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a private CA, of a server's certificate, and of its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"), HOST)


@pytest.fixture
def run(store, tmp_path):
    """Run the command with these variables; the process, ended."""

    def started(result_path="results/test", **variables):
        (tmp_path / "request.json").write_text(json.dumps(request_of(result_path=result_path)))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        words = ["run", str(tmp_path / "request.json"), "--store", str(store), "--workers", "1"]
        return subprocess.run(
            [COSMIC, *words],
            env=inherited | {"PREFECT_HOME": str(tmp_path / "home")} | variables,
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=280,
        )

    return started


def flow_run_names(port):
    with SyncPrefectClient(f"http://127.0.0.1:{port}/api", auth_string=LOGIN) as client:
        return {run.name for run in client.read_flow_runs() if run.state.is_completed()}


def assert_refused_before_anything_begins(ended, store, *words):
    assert ended.returncode == 2, ended.stderr
    assert all(word in ended.stderr for word in words), ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (store / "cosmicai-test" / "results").exists()


def test_run_reports_through_proxy_tls_header_and_login(run, server, certificate):
    ca, *pair = certificate
    with (
        front(server, pair, header=b"X-Team: redshift") as tls,
        front(tls.port, connect=True) as proxy,
    ):
        ended = run(
            "results/company",
            PREFECT_API_URL=f"https://{HOST}/api",
            PREFECT_API_SSL_CERT_FILE=str(ca),
            PREFECT_API_AUTH_STRING=LOGIN,
            PREFECT_CLIENT_CUSTOM_HEADERS='{"X-Team": "redshift"}',
            HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}",
        )
    assert ended.returncode == 0, ended.stderr
    assert proxy.connections
    assert "cosmicai-test/results/company" in flow_run_names(server)


def test_run_waits_for_a_busy_server_without_checking_its_certificate(run, server, certificate):
    with front(server, certificate[1:]) as tls:
        tls.busy, tls.busy_with = 8, b"POST /api/flow_runs/ "
        ended = run(
            "results/busy",
            PREFECT_API_URL=f"https://127.0.0.1:{tls.port}/api",
            PREFECT_API_TLS_INSECURE_SKIP_VERIFY="true",
            PREFECT_API_AUTH_STRING=LOGIN,
        )
    assert ended.returncode == 0, ended.stderr
    assert "The Prefect server is busy: waiting until it creates the run" in ended.stderr
    assert tls.busy == 0
    assert "cosmicai-test/results/busy" in flow_run_names(server)


def test_run_waits_for_a_server_too_busy_for_the_first_question(run, server):
    with front(server) as plain:
        plain.busy = 3
        ended = run(
            "results/first", PREFECT_API_URL=f"http://127.0.0.1:{plain.port}/api", PREFECT_API_AUTH_STRING="team:wrong"
        )
    assert "is busy: waiting for it" in ended.stderr
    assert "refuses the credentials (401)" in ended.stderr


def test_wrong_login_is_refused_in_one_sentence(run, server, store):
    ended = run(PREFECT_API_URL=f"http://127.0.0.1:{server}/api", PREFECT_API_AUTH_STRING="team:wrong")
    assert_refused_before_anything_begins(ended, store, "(401)", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


def test_unknown_certificate_is_refused_in_one_sentence(run, server, certificate, store):
    with front(server, certificate[1:]) as tls:
        ended = run(PREFECT_API_URL=f"https://127.0.0.1:{tls.port}/api", PREFECT_API_AUTH_STRING=LOGIN)
    assert_refused_before_anything_begins(ended, store, "certificate that is not trusted", "PREFECT_API_SSL_CERT_FILE")


def test_proxy_that_is_gone_is_named(run, store):
    gone = f"http://127.0.0.1:{free_port()}"
    ended = run(PREFECT_API_URL=f"https://{HOST}/api", HTTPS_PROXY=gone)
    assert_refused_before_anything_begins(ended, store, "cannot be reached", "HTTPS_PROXY")
