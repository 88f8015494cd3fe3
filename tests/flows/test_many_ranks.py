import pytest

from flows.run import run
from tests.surveys import SIZES, read_json, request_of

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("prefect_api")]


def test_twelve_hundred_ranks_are_all_done_and_all_in_the_summary(store):
    document = run(request_of(world_size=1200, file_limit=4), str(store), workers=2)
    assert (document["ranks_planned"], document["ranks_done"], document["missing_ranks"]) == (1200, 1200, [])
    assert document["samples"] == 300 * sum(SIZES)
    assert document["metrics"]["samples"] == sum(SIZES), "each object counts once"
    records = read_json(store / "cosmicai-test" / "results" / "test" / "combined_data.json")
    assert [record["rank"] for record in records] == list(range(1200))
    again = run(request_of(world_size=1200, file_limit=4), str(store), workers=2)
    assert again["ranks_resumed"] == 1200
