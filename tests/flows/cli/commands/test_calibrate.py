import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import qp

from flows.cli import main
from flows.run import run
from inference.contract.object_keys import calibration_key
from inference.contract.run_request import RunRequest
from inference.runs.finished import stored_summary
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.run_results import calibrate as module
from tests.support.finished_run import BUCKET, finished_run
from tests.support.prefect_command import reporting_to
from tests.support.surveys import request_of, write_store, write_survey

RUN = "cosmicai-test/results/test"
KEY = calibration_key("models/tiny.safetensors")


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """The store of a finished run of 240 galaxies, in whose folder the test works."""
    root = tmp_path / ".cosmic/store"
    finished_run(root, sizes=(120, 120), unknown=2)
    monkeypatch.chdir(tmp_path)
    return root


def test_calibrate_mixes_no_run_that_ends_beside_it_with_the_model(finished, capsys, monkeypatch):
    real = module.read_catalogue

    def after_another_run(*args, **named):
        finished_run(finished, sizes=(120, 120), run_id="another", scatter=0.3)
        return real(*args, **named)

    monkeypatch.setattr(module, "read_catalogue", after_another_run)
    assert main(["calibrate", RUN]) == 1
    assert f"another run of {RUN} ended just now: calibrate again" in capsys.readouterr().err
    assert not (finished / BUCKET / KEY).exists()


def test_calibrate_puts_the_calibration_beside_the_weights(finished, capsys):
    assert main(["calibrate", RUN, "--to", "mine.json"]) == 0
    written = (finished / BUCKET / KEY).read_bytes()
    found = Calibration.read(written, KEY, "ab" * 32)
    assert (found.made["galaxies"], found.made["left_out"], found.made["bins"]) == (236, 4, [1, 1])
    assert (finished.parent.parent / "mine.json").read_bytes() == written
    said = capsys.readouterr().out.replace("\n", " ")
    assert "4 galaxies without a known redshift or an r magnitude were left out." in said
    assert "236 galaxies in 1 bin of predicted redshift" in said
    assert "Too few galaxies for finer bins" in said


def test_calibrate_prints_one_json_document(finished, capsys):
    assert main(["calibrate", RUN, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["key"] == f"{BUCKET}/{KEY}"
    assert document["result_path"] == RUN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": (100, 50)}, "150 galaxies with a known redshift and an r magnitude are too few"),
        ({"model": None}, "is a run of a script, which has no model to calibrate"),
    ],
)
def test_calibrate_refuses_in_one_sentence_and_writes_nothing(tmp_path, monkeypatch, capsys, changes, message):
    finished_run(tmp_path / ".cosmic/store", **{"sizes": (120, 120)} | changes)
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", RUN]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / ".cosmic/store" / BUCKET / KEY).exists()


def test_calibrate_to_a_place_that_cannot_be_written_writes_nothing_at_all(finished, capsys):
    (finished.parent.parent / "folder").mkdir()
    assert main(["calibrate", RUN, "--to", "folder"]) == 2
    assert "--to is the folder folder: name a file in it" in capsys.readouterr().err.replace("\n", " ")
    assert not (finished / BUCKET / KEY).exists()


class Calibrated(NamedTuple):
    """A run of 300 galaxies whose model was calibrated afterwards, and which was then run again."""

    store: Path
    request: dict
    before: dict
    summary_of_old: dict | None
    document: dict


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, tiny_weights, prefect_server):
    store = tmp_path_factory.mktemp("calibrated")
    write_store(store, tiny_weights)
    write_survey(store / BUCKET / "many", (150, 150))
    request = request_of(data_prefix="many", result_path="results/test")
    with reporting_to(prefect_server):
        before = run(request, str(store), "local", 1)
        assert main(["calibrate", RUN, "--store", str(store)]) == 0
        summary_of_old = stored_summary(RunRequest.read(request), str(store))
        return Calibrated(store, request, before, summary_of_old, run(request, str(store), "local", 1))


@pytest.fixture
def calibration_file(calibrated):
    """The calibration of that run, which the test may change."""
    path = calibrated.store / BUCKET / KEY
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
class TestACalibratedModel:
    def test_the_same_request_then_gives_intervals_and_scores(self, calibrated, capsys):
        store, request, before, summary_of_old, document = calibrated
        assert before.get("calibration") is None
        assert summary_of_old is None, "its summary has no intervals yet"
        assert document["ranks_resumed"] == 2
        assert any("was made from a run over cosmicai-test/many, too" in note for note in document["notes"])
        content = (store / BUCKET / KEY).read_bytes()
        assert document["calibration"]["sha256"] == Calibration.read(content, KEY).sha256
        assert document["interval_scores"]["coverage_68"] == pytest.approx(0.68, abs=0.02)
        assert stored_summary(RunRequest.read(request), str(store)) == json.loads(json.dumps(document))
        table = pd.read_parquet(store / BUCKET / "results/test/predictions.parquet")
        assert set(BOUNDS) <= set(table.columns)
        assert (table["z_err95_low"] <= table["z_err68_low"]).all()
        page = (store / BUCKET / "results/test/report.html").read_text()
        assert page.index("Coverage of the 68 % interval") < page.index("What ran")
        assert "PIT histogram" in page or "Probability integral transforms" in page
        capsys.readouterr()
        assert main(["metrics", RUN, "--json", "--store", str(store)]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["scores"] == document["interval_scores"]
        assert set(found["coverage"]) == {"z_pred", "z_spec", "mag_r"}

    def test_its_catalogue_has_the_intervals_in_binary_and_as_text(self, calibrated, tmp_path, capsys):
        store = calibrated.store
        of_run = pd.read_parquet(store / BUCKET / "results/test/predictions.parquet")
        for name in ("z.fits", "z.csv"):
            assert main(["catalogue", RUN, "--store", str(store), "--to", str(tmp_path / name)]) == 0
            capsys.readouterr()
            assert main(["metrics", str(tmp_path / name), "--json"]) == 0
            scores = json.loads(capsys.readouterr().out)["scores"]
            assert scores["width_68"] == pytest.approx(
                float((of_run["z_err68_high"] - of_run["z_err68_low"]).median()), rel=1e-6
            )

    def test_its_catalogue_has_p_of_z_for_rail_and_for_rubin(self, calibrated, tmp_path, monkeypatch, capsys):
        store = calibrated.store
        monkeypatch.chdir(tmp_path)
        assert main(["catalogue", RUN, "--store", str(store), "--to", "z.hdf5"]) == 0
        assert main(["catalogue", RUN, "--store", str(store), "--format", "rubin", "--to", "z.parquet"]) == 0
        assert "300 objects" in capsys.readouterr().out
        median = pd.read_parquet("z.parquet")["cosmic_z_median"]
        assert qp.read("z.hdf5").ppf(0.5).ravel() == pytest.approx(median.dropna(), abs=1e-5)

    def test_a_calibration_of_other_weights_stops_a_run_before_it_writes(
        self, calibrated, calibration_file, tmp_path, capsys
    ):
        store = calibrated.store
        document = json.loads(calibration_file.read_bytes()) | {"model_sha256": "cd" * 32}
        calibration_file.write_text(json.dumps(document))
        (tmp_path / "request.json").write_text(json.dumps(calibrated.request | {"result_path": "results/other"}))
        assert main(["run", str(tmp_path / "request.json"), "--store", str(store)]) == 2
        assert "was made for another model" in capsys.readouterr().err.replace("\n", " ")
        assert not (store / BUCKET / "results/other").exists()

    def test_a_calibration_replaced_after_the_run_is_named(self, calibrated, calibration_file, capsys):
        calibration_file.write_text(json.dumps(json.loads(calibration_file.read_bytes()) | {"made": {}}))
        assert main(["metrics", RUN, "--store", str(calibrated.store)]) == 2
        assert "was replaced after this run" in capsys.readouterr().err.replace("\n", " ")
