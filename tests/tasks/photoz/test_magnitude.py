"""A survey without r: tables, labels and catalogues call the magnitude after the band that it is of."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput
from inference.rank_results.predictions import Predictions, decode
from inference.storage.store import Store
from tasks.photoz.conformal import calibrate
from tasks.photoz.quality import quality_of, read_table
from tasks.run_results.catalogue import read_catalogue
from tasks.run_results.catalogue_formats import FORMATS, catalogue_bytes
from tasks.run_results.worst_objects import WorstObjects, worst_table
from tasks.survey.columns import ColumnOptions
from tests.support.finished_run import BUCKET, PATH, finished_run
from tests.support.wire_examples import EVENT

READERS = {"fits": "fits", "votable": "votable", "ecsv": "ascii.ecsv", "csv": "ascii.csv"}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Of a run over g i z, whose model knows its training's ranges."""
    root = tmp_path_factory.mktemp("run")
    finished_run(root)
    path = root / BUCKET / PATH / "predictions.parquet"
    table = pq.read_table(path)
    flags = pa.array([row == 3 for row in range(len(table))])
    named = ["mag_i" if name == "mag_r" else name for name in table.column_names]
    pq.write_table(table.rename_columns(named).append_column("out_of_domain", flags), path)
    return read_catalogue(Store(root), BUCKET, PATH)


@pytest.mark.parametrize(
    ("bands", "column"),
    [(None, "mag_r"), (("u", "r"), "mag_r"), (("g", "i", "z"), "mag_i"), (("J", "H β", "Ks"), "mag_H__")],
)
def test_a_column_is_called_after_the_band(bands, column):
    assert SurveyFacts(bands=bands).magnitude_column == column


def test_a_rank_says_of_which_band_its_magnitudes_are():
    made = Predictions(magnitude="mag_i")
    made.add("1.pt", 0, np.zeros(2), None, np.array([20.0, 21.0]))
    _, found = decode(made.encode(EVENT), "a file")
    assert "mag_r" not in found and found["mag_i"].tolist() == [20, 21]


def test_a_rank_with_a_foreign_name_of_magnitudes_is_refused():
    made = Predictions(magnitude="z_best")
    made.add("1.pt", 0, np.zeros(2), None)
    with pytest.raises(BadInput, match="a file calls the column of the magnitude 'z_best'"):
        decode(made.encode(EVENT), "a file")


@pytest.mark.parametrize("form", FORMATS)
def test_a_catalogue_has_the_bands_own_magnitude_and_the_flag(catalogue, form):
    data = io.BytesIO(catalogue_bytes(catalogue, form))
    found = pd.read_parquet(data) if form == "parquet" else Table.read(data, format=READERS[form])
    names = list(found.columns)
    assert "mag_r" not in names and names.index("out_of_domain") + 1 == names.index("mag_i")
    assert [row for row, flag in enumerate(found["out_of_domain"]) if flag] == [3]
    if form in {"votable", "ecsv"}:
        assert (found["mag_i"].unit, found["mag_i"].description) == ("mag", "i magnitude that the model was given")


def test_metrics_and_their_file_are_called_after_the_band(catalogue, tmp_path):
    titles = [table.title for table in quality_of(catalogue.rows, "it").tables()]
    assert any("i magnitude" in title for title in titles) and not any("r magnitude" in title for title in titles)
    (tmp_path / "z.csv").write_bytes(catalogue_bytes(catalogue, "csv"))
    rows, columns = read_table(tmp_path / "z.csv", ColumnOptions())
    np.testing.assert_allclose(rows["mag_i"], catalogue.rows["mag_i"], rtol=1e-6)
    assert columns.used["i magnitude"] == "mag_i"


def test_the_worst_objects_show_the_bands_own_magnitude(catalogue):
    rows = catalogue.rows.rename(columns={"partition": "file", "row": "index"}).drop(columns=["delta", "outlier"])
    worst = WorstObjects()
    worst.look_at(pa.Table.from_pandas(rows))
    assert [column.title for column in worst_table(worst.to_list()).columns][5] == "i magnitude"


def test_too_few_galaxies_name_the_band():
    with pytest.raises(BadInput, match="3 galaxies with a known redshift and a magnitude in i are too few"):
        calibrate(np.full(3, 0.1), np.full(3, 0.1), np.full(3, 20.0), "", {"magnitude": "i"})
