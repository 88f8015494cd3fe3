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


@pytest.mark.parametrize(
    ("size", "says"), [("0GB", "a size of 0GB has room for no galaxy"), ("much", "written as 25MB")]
)
def test_plan_refuses_a_data_set_of_no_size(store, request_file, size, says, capsys):
    assert main(["plan", request_file, "--store", str(store), "--data", size]) == 2
    assert says in capsys.readouterr().err


def test_plan_writes_no_request_that_names_no_partitions(store, request_file, tmp_path, capsys):
    out = tmp_path / "best.json"
    words = ["--data", "1GB", "--deadline", "1h", "--out", str(out)]
    assert main(["plan", request_file, "--store", str(store), *words]) == 2
    assert "--out needs partition in the request" in capsys.readouterr().err
    assert not out.exists()
