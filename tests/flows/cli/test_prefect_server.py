"""Servers that stop answering while a command needs them."""

import pytest
from prefect import flow
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.cli import prefect_server as prefect_api
from inference.errors import CosmicError
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
