"""A store that refuses, forgets or changes in the middle of a run: one clear sentence, nothing lost."""

import json
import uuid

import pytest

from flows.run import run
from inference.errors import RunIncomplete, StoreError
from inference.handler import _open_store
from inference.storage.store import Store
from tests.support.s3_fault_proxy import DENIED, ILL, NOT_THERE, gate_to
from tests.support.surveys import SIZES, in_bucket

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api", "plain_bucket")]
BUCKET = "cosmicai-plain"


@pytest.fixture
def gate(emulator_url, plain_bucket, monkeypatch):
    with gate_to(emulator_url) as (gate, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        _open_store.cache_clear()  # ranks run in this process, whose stores know another address
        yield gate
    _open_store.cache_clear()


@pytest.fixture
def asked():
    return in_bucket(BUCKET, result_path=f"results/{uuid.uuid4().hex[:8]}")


def local(request):
    return run(request, "s3://", workers=0)


def once(wanted, answer, times=1):
    """Answer so the first times that a method and a path's part are seen."""
    left = [times]

    def decide(method, path):
        if wanted(method, path) and left[0] > 0:
            left[0] -= 1
            return answer
        return None

    return decide


def test_permission_that_is_lost_before_the_results_are_written_names_each_rank_and_the_reason(gate, asked):
    gate.refuse = lambda method, path: DENIED if method == "PUT" and "/predictions/2." in path else None
    with pytest.raises(RunIncomplete, match=r"1 of 4 ranks .*rank 2: cannot write .*predictions/2\..*access denied"):
        local(asked)
    gate.refuse = lambda method, path: None
    assert local(asked)["ranks_resumed"] == 3


def test_permission_that_is_lost_before_the_summary_is_one_sentence_and_the_ranks_are_kept(gate, asked):
    gate.refuse = lambda method, path: DENIED if method == "PUT" and path.endswith("combined_data.json") else None
    with pytest.raises(
        StoreError, match=r"cannot write .*combined_data\.json: access denied.*other ranks are kept"
    ) as told:
        local(asked)
    assert "\n" not in str(told.value)
    gate.refuse = lambda method, path: None
    assert local(asked)["ranks_resumed"] == 4


def test_an_answer_that_is_lost_after_the_result_was_written_loses_neither_result_nor_redshifts(gate, asked):
    key = f"{asked['result_path']}/1.json"
    gate.lose = once(lambda method, path: method == "PUT" and path.endswith(key), ILL)
    document = local(asked)
    assert (document["ranks_done"], document["samples"]) == (4, sum(SIZES))
    assert [path for method, path in gate.seen if method == "PUT" and path.endswith(key)], "it was asked for"
    result = json.loads(Store("s3://").read(BUCKET, key))
    assert Store("s3://").head(BUCKET, result["predictions_path"]) is not None


def test_a_partition_that_is_listed_and_not_yet_there_is_looked_for_again(gate, asked):
    gate.refuse = once(lambda method, path: method == "HEAD" and path.endswith("survey/3.pt"), NOT_THERE, times=2)
    document = local(asked)
    assert (document["ranks_done"], {row["attempt"] for row in document["ranks"]}) == (4, {1})


def test_a_result_that_is_listed_and_not_yet_readable_is_looked_for_again(gate, asked):
    key = f"{asked['result_path']}/1.json"
    gate.refuse = once(lambda method, path: method == "GET" and path.endswith(key), NOT_THERE, times=2)
    assert local(asked)["ranks_done"] == 4


@pytest.mark.parametrize("access", ["download", "stream", "memory-map"])
def test_a_partition_that_is_replaced_between_plan_and_read_fails_its_rank_by_name(gate, asked, access):
    store, planned = Store("s3://"), f"{asked['result_path']}/payload.json"
    prefix = f"replaced/{access}"
    for stored in store.list(BUCKET, "survey"):
        store.write(BUCKET, stored.key.replace("survey/", f"{prefix}/"), store.read(BUCKET, stored.key))

    def replace(method, path):
        if method == "PUT" and path.endswith(planned):
            store.write(BUCKET, f"{prefix}/2.pt", store.read(BUCKET, "survey/1.pt"))

    gate.lose = replace
    with pytest.raises(
        RunIncomplete, match=rf"rank 1: the partition {prefix}/2\.pt has changed since the run was planned"
    ):
        local(asked | {"data_prefix": prefix, "access": access})
