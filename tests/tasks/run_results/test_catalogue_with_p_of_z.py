"""Catalogues that hold p(z), read back by qp and pyarrow."""

import dataclasses
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import qp

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.photoz.conformal import calibrate
from tasks.run_results.catalogue import read_catalogue
from tasks.run_results.catalogue_qp import qp_bytes
from tasks.run_results.catalogue_rubin import rubin_bytes
from tests.support.finished_run import BUCKET, PATH, finished_run

SIZES = (300, 400)


@pytest.fixture
def catalogue(tmp_path):
    """Of 700 galaxies with ids and places; three of each partition have no known redshift."""
    finished_run(tmp_path, sizes=SIZES, unknown=3)
    found = read_catalogue(Store(tmp_path), BUCKET, PATH)
    return dataclasses.replace(found, rows=found.rows.assign(ra=10.0, dec=-1.5))


@pytest.fixture
def calibration(catalogue):
    """Made on the galaxies of that run but the brightest, so that some lie outside its range."""
    rows = catalogue.rows[catalogue.rows["mag_r"] > catalogue.rows["mag_r"].min()]
    return calibrate(*(rows[name].to_numpy() for name in ("z_pred", "z_spec", "mag_r")), "ab" * 32, {})


@pytest.fixture
def ensemble(catalogue, calibration, tmp_path):
    path = tmp_path / "z.hdf5"
    path.write_bytes(qp_bytes(catalogue, calibration))
    return qp.read(str(path))


def inside(catalogue, calibration):
    rows = catalogue.rows
    return rows[calibration.bins(rows["z_pred"].to_numpy(), rows["mag_r"].to_numpy()) >= 0]


class TestQp:
    def test_ensemble_holds_each_calibrated_object_once_with_its_id(self, ensemble, catalogue, calibration):
        kept = inside(catalogue, calibration)
        assert 0 < len(catalogue.rows) - len(kept) < 5
        assert ensemble.npdf == len(kept)
        assert [str(name) for name in ensemble.ancil["object_id"]] == kept["object_id"].tolist()
        np.testing.assert_array_equal(ensemble.ancil["redshift"], kept["z_spec"])

    def test_ensemble_has_the_distributions_of_the_calibration(self, ensemble, catalogue, calibration):
        kept = inside(catalogue, calibration)
        z_pred, mag_r = kept["z_pred"].to_numpy(), kept["mag_r"].to_numpy()
        ends = calibration.bounds(z_pred, mag_r)
        for level, bound in ((0.15865525, "z_err68_low"), (0.84134475, "z_err68_high"), (0.975, "z_err95_high")):
            assert ensemble.ppf(level).ravel() == pytest.approx(ends[bound], abs=2e-5)
        grid = np.linspace(z_pred[0] - 0.1, z_pred[0] + 0.1, 4001)
        density = calibration.pdf(z_pred[:1], mag_r[:1], grid)[0]
        cumulative = np.cumsum(density) * (grid[1] - grid[0])
        assert ensemble[0].cdf(grid).ravel() == pytest.approx(cumulative, abs=0.003)

    def test_ensemble_has_mode_mean_and_median_of_its_distributions(self, ensemble, catalogue, calibration):
        kept = inside(catalogue, calibration)
        grid = np.linspace(-0.1, 0.8, 9001)
        density = calibration.pdf(kept["z_pred"].to_numpy()[:5], kept["mag_r"].to_numpy()[:5], grid)
        mean = np.trapezoid(density * grid, grid) / np.trapezoid(density, grid)
        assert ensemble.ancil["zmode"][:5] == pytest.approx(grid[density.argmax(axis=1)], abs=2e-4)
        assert ensemble.ancil["zmean"][:5] == pytest.approx(mean, abs=2e-4)
        assert ensemble.ancil["zmedian"] == pytest.approx(ensemble.ppf(0.5).ravel(), abs=1e-5)

    def test_ensemble_without_a_known_redshift_has_no_redshift(self, catalogue, calibration, tmp_path):
        unknown = dataclasses.replace(catalogue, rows=catalogue.rows.assign(z_spec=np.nan))
        (tmp_path / "z.hdf5").write_bytes(qp_bytes(unknown, calibration))
        assert sorted(qp.read(str(tmp_path / "z.hdf5")).ancil) == ["object_id", "zmean", "zmedian", "zmode"]


class TestRubin:
    def test_table_has_the_columns_of_rubin_and_every_object(self, catalogue, calibration):
        table = pq.read_table(io.BytesIO(rubin_bytes(catalogue, calibration, "mae")))
        points = [f"mae_z_{point}" for point in ("mode", "mean", "median")]
        bounds = [f"mae_z_err{level}_{end}" for level in ("68", "95") for end in ("low", "high")]
        assert table.column_names == ["objectId", *points, *bounds, "ra", "dec"]
        assert table.num_rows == len(catalogue.rows)
        outside = len(catalogue.rows) - len(inside(catalogue, calibration))
        assert [table[name].null_count for name in points + bounds] == [outside] * 7
        median, low, high = (table[f"mae_z_{name}"].to_numpy() for name in ("median", "err68_low", "err68_high"))
        known = ~np.isnan(median)
        assert ((low < median) & (median < high))[known].all()

    @pytest.mark.parametrize(
        ("first", "kind"),
        [("1237648720693755918", "int64"), ("007", "string"), ("J001", "string"), ("9" * 20, "string")],
    )
    def test_ids_are_numbers_only_where_nothing_is_lost(self, catalogue, calibration, first, kind):
        ids = [first, *map(str, range(1, len(catalogue.rows)))]
        named = dataclasses.replace(catalogue, rows=catalogue.rows.assign(object_id=ids))
        table = pq.read_table(io.BytesIO(rubin_bytes(named, calibration)))
        assert str(table.schema.field("objectId").type) == kind
        assert str(table["objectId"][0].as_py()) == first

    @pytest.mark.parametrize("name", ["", "my name", "a" * 40, "1st", "z;"])
    def test_a_name_that_makes_no_column_is_refused(self, catalogue, calibration, name):
        with pytest.raises(BadInput, match="--name must be a letter"):
            rubin_bytes(catalogue, calibration, name)


@pytest.mark.parametrize("written", [qp_bytes, rubin_bytes])
def test_a_run_without_a_calibration_has_no_p_of_z(catalogue, written):
    with pytest.raises(BadInput, match="make one with cosmic calibrate, and run again"):
        written(catalogue, None)


@pytest.mark.parametrize("written", [qp_bytes, rubin_bytes])
def test_a_run_outside_the_calibrated_range_has_no_p_of_z(catalogue, calibration, written):
    faint = dataclasses.replace(catalogue, rows=catalogue.rows.assign(mag_r=40.0))
    with pytest.raises(BadInput, match="no object of the run lies in the range"):
        written(faint, calibration)
