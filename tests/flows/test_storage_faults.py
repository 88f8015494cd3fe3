"""A store that refuses, loses answers or changes during a run: one clear sentence, and nothing is lost."""

import json
import uuid

import pytest

from flows.run import run
from inference.errors import RunIncomplete, StoreError
from inference.handler import _open_store
from inference.storage.store import Store
from tests.support.s3_fault_proxy import DENIED, INTERNAL_ERROR, NO_SUCH_KEY, s3_fault_proxy
from tests.support.surveys import SIZES, in_bucket

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api", "plain_bucket")]
BUCKET = "cosmicai-plain"


@pytest.fixture
def proxy(emulator_url, plain_bucket, monkeypatch):
    with s3_fault_proxy(emulator_url) as (proxy, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        _open_store.cache_clear()  # ranks run in this process, whose stores know another address
        yield proxy
    _open_store.cache_clear()


@pytest.fixture
def run_request():
    return in_bucket(BUCKET, result_path=f"results/{uuid.uuid4().hex[:8]}")


def local(request):
    return run(request, "s3://", workers=0)


def once(wanted, answer, times=1):
    """Give the answer the first `times` that a method and a path match."""
    left = [times]

    def decide(method, path):
        if wanted(method, path) and left[0] > 0:
            left[0] -= 1
            return answer
        return None

    return decide


def test_denied_predictions_fail_their_rank_by_name_with_the_reason(proxy, run_request):
    proxy.refuse = lambda method, path: DENIED if method == "PUT" and "/predictions/2." in path else None
    with pytest.raises(RunIncomplete, match=r"1 of 4 ranks .*rank 2: cannot write .*predictions/2\..*access denied"):
        local(run_request)
    proxy.refuse = lambda method, path: None
    assert local(run_request)["ranks_resumed"] == 3


def test_denied_summary_is_one_sentence_and_keeps_the_ranks(proxy, run_request):
    proxy.refuse = lambda method, path: DENIED if method == "PUT" and path.endswith("combined_data.json") else None
    with pytest.raises(
        StoreError, match=r"cannot write .*combined_data\.json: access denied.*other ranks are kept"
    ) as caught:
        local(run_request)
    assert "\n" not in str(caught.value)
    proxy.refuse = lambda method, path: None
    assert local(run_request)["ranks_resumed"] == 4


def test_lost_answer_to_a_result_loses_neither_result_nor_redshifts(proxy, run_request):
    key = f"{run_request['result_path']}/1.json"
    proxy.lose = once(lambda method, path: method == "PUT" and path.endswith(key), INTERNAL_ERROR)
    document = local(run_request)
    assert (document["ranks_done"], document["samples"]) == (4, sum(SIZES))
    assert [path for method, path in proxy.seen if method == "PUT" and path.endswith(key)], "the result was put"
    result = json.loads(Store("s3://").read(BUCKET, key))
    assert Store("s3://").head(BUCKET, result["predictions_path"]) is not None


def test_partition_listed_but_not_yet_readable_is_retried(proxy, run_request):
    proxy.refuse = once(lambda method, path: method == "HEAD" and path.endswith("survey/3.pt"), NO_SUCH_KEY, times=2)
    document = local(run_request)
    assert (document["ranks_done"], {row["attempt"] for row in document["ranks"]}) == (4, {1})


def test_result_listed_but_not_yet_readable_is_retried(proxy, run_request):
    key = f"{run_request['result_path']}/1.json"
    proxy.refuse = once(lambda method, path: method == "GET" and path.endswith(key), NO_SUCH_KEY, times=2)
    assert local(run_request)["ranks_done"] == 4


@pytest.mark.parametrize(
    "access", ["stream", *(pytest.param(other, marks=pytest.mark.soak) for other in ("download", "memory-map"))]
)
def test_partition_replaced_after_the_plan_fails_its_rank_by_name(proxy, run_request, access):
    store, planned = Store("s3://"), f"{run_request['result_path']}/payload.json"
    prefix = f"replaced/{access}"
    for stored in store.list(BUCKET, "survey"):
        store.write(BUCKET, stored.key.replace("survey/", f"{prefix}/"), store.read(BUCKET, stored.key))

    def replace(method, path):
        if method == "PUT" and path.endswith(planned):
            store.write(BUCKET, f"{prefix}/2.pt", store.read(BUCKET, "survey/1.pt"))

    proxy.lose = replace
    with pytest.raises(
        RunIncomplete, match=rf"rank 1: the partition {prefix}/2\.pt has changed since the run was planned"
    ):
        local(run_request | {"data_prefix": prefix, "access": access})
