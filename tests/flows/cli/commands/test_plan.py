import json

import pytest

from flows.cli import main
from tests.support.surveys import request_of


@pytest.fixture
def request_file(tmp_path):
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request_of()))
    return str(path)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_plan_predicts_from_the_probe_that_it_runs_first(store, request_file, capsys):
    words = ["plan", request_file, "--store", str(store), "--workers", "1", "--json"]
    assert main(words) == 0
    assert "shipped measurements" in json.loads(capsys.readouterr().out)["source"]
    assert main([*words, "--probe"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["source"] == "fitted from 2 earlier runs of this kind with 4 ranks"
    assert "Probe: 2 ranks, 2 times, local" in shown.err
    results = store / "cosmicai-test" / request_of()["result_path"]
    assert not (results / "summary.json").exists()


@pytest.mark.parametrize("cents", ["0", "-1", "nan"])
def test_plan_refuses_a_probe_of_no_money(store, request_file, cents, capsys):
    assert main(["plan", request_file, "--store", str(store), "--probe", cents]) == 2
    assert "a sum of US cents above 0" in capsys.readouterr().err
