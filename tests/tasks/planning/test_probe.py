import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.planning.probe import probe_of
from tests.support.surveys import request_of


def test_a_probe_is_a_handful_of_ranks_run_twice_beside_the_result(store):
    probe = probe_of(RunRequest.read(request_of()), str(store), "local", 1)
    assert (probe.ranks, probe.usd_p90) == (2, None)
    path = request_of()["result_path"]
    assert [each.result_path for each in probe.requests] == [f"{path}-probe-1", f"{path}-probe-2"]
    assert {(each.file_limit, each.world_size) for each in probe.requests} == {(2, 2)}


def test_a_probe_has_no_more_ranks_than_there_are_partitions(store):
    assert probe_of(RunRequest.read(request_of()), str(store), "local", 16).ranks == 4


def test_a_probe_on_aws_says_what_it_costs_before_it_runs(store):
    probe = probe_of(RunRequest.read(request_of()), str(store), "lambda", None, cents=20)
    assert 0 < probe.usd_p90 <= 0.20
    assert probe.sentence("lambda").startswith("Probe: 4 ranks, 2 times, lambda, at most $")


def test_a_probe_that_costs_more_than_it_may_is_refused(store):
    with pytest.raises(BadInput, match=r"expected to cost .* more than the 0.01 cents .*: `--probe [\d.]+` allows it"):
        probe_of(RunRequest.read(request_of()), str(store), "lambda", None, cents=0.01)


def test_a_probe_without_partitions_says_how_to_make_them(store):
    request = RunRequest.read(request_of(data_prefix="none", partition={"source": "survey.pt", "size": "25MB"}))
    with pytest.raises(BadInput, match=r"a probe reads partitions, .*/none: make them first \(`cosmic partition`\)"):
        probe_of(request, str(store), "local", 2)
