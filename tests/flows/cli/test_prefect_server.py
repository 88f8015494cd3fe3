"""Servers that stop answering while a command needs them, and such as have not begun to."""

import pytest
from prefect import flow
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.cli import prefect_server as prefect_api
from inference.errors import BadInput, CosmicError
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
