"""Servers that stop answering while a command needs them, have not begun to, are busy, or refuse it."""

from urllib.parse import urlsplit

import pytest
from prefect import flow
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.cli import prefect_server as prefect_api
from inference.errors import BadInput, CosmicError
from tests.conftest import free_port
from tests.support.company_front import front, make_certificate
from tests.support.prefect_command import reporting_to
from tests.support.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.slow
FEW_RETRIES = {PREFECT_CLIENT_MAX_RETRIES: 0}


@pytest.mark.parametrize("gone", ["before the flow", "in the flow"])
def test_a_server_that_goes_away_is_a_sentence_that_says_what_is_left(prefect_server, monkeypatch, gone):
    with tcp_proxy(prefect_server) as (proxy, url), reporting_to(url), temporary_settings(FEW_RETRIES):
        monkeypatch.setenv("PREFECT_API_URL", url)

        @flow
        def work():
            if gone == "in the flow":
                proxy.cut()

        with (
            pytest.raises(CosmicError, match=r"^the Prefect server went away \(.*\): the work is kept$"),
            prefect_api.connected(verbose=False, left="the work is kept"),
        ):
            if gone == "before the flow":
                proxy.cut()
            prefect_api.call(work)


def test_a_server_that_is_still_starting_is_waited_for(prefect_server, monkeypatch):
    with tcp_proxy(prefect_server) as (proxy, url), reporting_to(url):
        said = []

        def say(text, *_, **__):
            said.append(text)
            proxy.restore()

        monkeypatch.setattr(prefect_api, "say", say)
        monkeypatch.setenv("PREFECT_API_URL", url)
        proxy.cut()
        with prefect_api.connected(verbose=False, left="nothing is done"):
            assert proxy.connections
    server = f"The Prefect server at {url} (PREFECT_API_URL)"
    assert said == [f"{server} does not answer: it may be starting, waiting 8 s for it"]


def test_a_server_that_never_starts_is_refused_after_some_seconds(prefect_server, monkeypatch):
    monkeypatch.setattr(prefect_api, "_START_S", 1.0)
    with tcp_proxy(prefect_server) as (proxy, url), reporting_to(url):
        monkeypatch.setenv("PREFECT_API_URL", url)
        proxy.cut()
        with (
            pytest.raises(BadInput, match=r"cannot be reached \(.*refused\): start it, or unset the variable"),
            prefect_api.connected(verbose=False, left="nothing is done"),
        ):
            raise AssertionError("never reached")


def assert_refused(url, monkeypatch, *words):
    """The server is refused in one sentence that holds the words, before anything begins."""
    monkeypatch.setenv("PREFECT_API_URL", url)
    with (
        reporting_to(url),
        pytest.raises(BadInput) as refused,
        prefect_api.connected(verbose=False, left="nothing is done"),
    ):
        raise AssertionError("never reached")
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)


def test_a_busy_server_is_waited_for(prefect_server, monkeypatch, capsys):
    with front(urlsplit(prefect_server).port) as busy:
        busy.busy = 1
        url = f"http://127.0.0.1:{busy.port}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        with reporting_to(url), prefect_api.connected(verbose=False, left="nothing is done"):
            assert busy.busy == 0
    assert "is busy: waiting for it" in capsys.readouterr().err


def test_a_server_that_refuses_the_credentials_is_named(prefect_server, monkeypatch):
    with front(urlsplit(prefect_server).port, header=b"X-Team: redshift") as guarded:
        url = f"http://127.0.0.1:{guarded.port}/api"
        assert_refused(url, monkeypatch, "refuses the credentials (403)", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


def test_an_unknown_certificate_is_refused_naming_its_setting(prefect_server, monkeypatch, tmp_path):
    with front(urlsplit(prefect_server).port, make_certificate(tmp_path, "prefect.example.org")[1:]) as tls:
        url = f"https://127.0.0.1:{tls.port}/api"
        assert_refused(url, monkeypatch, "certificate that is not trusted", "PREFECT_API_SSL_CERT_FILE")


def test_a_proxy_that_is_gone_is_named(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    assert_refused("https://prefect.example.org/api", monkeypatch, "cannot be reached", "HTTPS_PROXY")
