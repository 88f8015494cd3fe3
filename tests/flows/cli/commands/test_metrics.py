import json

import numpy as np
import pandas as pd
import pytest

from flows.cli import main
from inference.partitions.partition import open_partition
from inference.storage.store import Store
from tasks.photoz.metrics import photoz_metrics
from tasks.run_results.catalogue import read_catalogue
from tests.support.finished_run import BUCKET, finished_run
from tests.support.surveys import SIZES

RUN = "cosmicai-test/results/test"


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """The redshifts of a finished run, in whose folder the test works."""
    found = finished_run(tmp_path / ".cosmic/store", unknown=1)
    monkeypatch.chdir(tmp_path)
    return found


def test_a_run_is_measured_with_intervals_and_in_bins(rows, capsys):
    assert main(["metrics", RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"] == photoz_metrics(rows["z_pred"].to_numpy(), rows["z_spec"].to_numpy())
    low, high = found["intervals"]["nmad"]
    assert low < found["metrics"]["nmad"] < high
    assert set(found["bins"]) == {"z_spec", "z_pred", "mag_r"}
    for bins in found["bins"].values():
        assert sum(row["samples"] for row in bins) == sum(SIZES) - 4


def test_bins_in_magnitude_are_of_the_r_band(rows, tmp_path):
    store = Store(tmp_path / ".cosmic/store")
    found = read_catalogue(store, BUCKET, "results/test").rows
    partitions = [
        open_partition(tmp_path / f".cosmic/store/{BUCKET}/{key}", key) for key in found["partition"].unique()
    ]
    expected = np.concatenate([np.asarray(partition.magnitudes)[:, 2] for partition in partitions])
    np.testing.assert_array_equal(found["mag_r"], expected.astype(np.float32))


def test_the_catalogue_of_a_run_in_any_format_has_the_runs_metrics(rows, capsys):
    assert main(["metrics", RUN, "--json"]) == 0
    of_run = json.loads(capsys.readouterr().out)
    for name in ("z.parquet", "z.fits", "z.vot", "z.ecsv", "z.csv"):
        assert main(["catalogue", RUN, "--to", name]) == 0
        capsys.readouterr()
        assert main(["metrics", name, "--json"]) == 0
        of_file = json.loads(capsys.readouterr().out)
        for key in ("metrics", "intervals", "bins"):
            assert of_file[key] == of_run[key]


def test_tables_are_printed_and_page_tables_and_plots_written(rows, tmp_path, capsys):
    assert main(["metrics", RUN, "--to", "quality", "--explain"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "NMAD, factor 1.4826",
        "Sigma 68",
        "95 % interval",
        "Brammer et al. 2008",
        "In bins of r magnitude",
    ):
        assert expected in out
    names = {path.name for path in (tmp_path / "quality").iterdir()}
    assert {"metrics.html", "metrics.json", "metrics.csv", "residuals.svg", "bins-mag-r.csv"} <= names
    page = (tmp_path / "quality/metrics.html").read_text()
    assert page.count("<svg") == 6
    table = pd.read_csv(tmp_path / "quality/metrics.csv", index_col="metric")
    assert table.loc["nmad", "low"] <= table.loc["nmad", "value"] <= table.loc["nmad", "high"]


def test_any_table_with_both_redshifts_will_do(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"z_pred": [0.1, 0.2], "z_spec": [0.1, 0.3], "name": ["a", "b"]}).to_csv("mine.csv", index=False)
    assert main(["metrics", "mine.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["mae"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("text", "error_message"),
    [
        ("a,b\n1,2\n", "has no column for the predicted redshift: name it with --prediction; it has a, b"),
        ("z_spec,b\n1,2\n", "has no column for the predicted redshift: name it with --prediction; it has z_spec, b"),
        ("z_pred,z_spec\n0.1,x\n", "something that is no number"),
        ("z_pred,z_spec\n", "has no rows"),
        ("z_pred,z_spec\n0.1,-9999\n", "it knows no spectroscopic redshift"),
        ("z_pred,z_spec\nnan,0.1\n", "none of its 1 galaxies with a spectroscopic redshift has a prediction"),
        ("", "has no rows and no header"),
    ],
)
def test_a_table_that_will_not_do_is_refused_in_one_sentence(tmp_path, capsys, monkeypatch, text, error_message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(text)
    assert main(["metrics", "mine.csv"]) == 2
    assert error_message in capsys.readouterr().err


def test_names_of_other_codes_are_known_and_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("id,z_phot,z_spec\n1,0.1,0.1\n2,0.2,0.3\n3,-99,0.3\n4,0.2,-99\n")
    assert main(["metrics", "mine.csv", "--json"]) == 0
    output = capsys.readouterr()
    assert "predicted redshift from z_phot; redshift from z_spec" in output.err
    found = json.loads(output.out)["metrics"]
    assert found["mae"] == pytest.approx(0.05)
    assert (found["samples"], found["unpredicted"], found["unknown"]) == (2, 1, 1)


def test_two_predictions_are_a_choice(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("z_phot,z_pred,zs\n0.1,0.2,0.1\n0.2,0.2,0.3\n")
    assert main(["metrics", "mine.csv", "--redshift", "zs"]) == 2
    assert "choose with --prediction" in capsys.readouterr().err
    assert main(["metrics", "mine.csv", "--redshift", "zs", "--prediction", "z_phot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["mae"] == pytest.approx(0.05)


def test_bins_are_counted(rows, capsys):
    assert main(["metrics", RUN, "--bins", "0"]) == 2
    assert "--bins must be from 1 to 100" in capsys.readouterr().err
