import numpy as np
import pandas as pd
import pytest

from tasks.training.head_quality import table, ways


@pytest.fixture(scope="module")
def figures():
    """Of models that know each galaxy's scatter, one of which says it, twice too small."""

    def galaxies(seed):
        rng = np.random.default_rng(seed)
        z_pred, scatter = rng.uniform(0.1, 0.4, 2000), rng.choice([0.005, 0.02], 2000)
        z_spec = z_pred + scatter * rng.normal(size=2000)
        alone = pd.DataFrame({"z_pred": z_pred, "z_spec": z_spec, "mag_r": rng.uniform(16, 20, 2000)})
        return alone, alone.assign(z_q16=z_pred - scatter / 2, z_q84=z_pred + scatter / 2)

    (made, made_own), (measured, measured_own) = galaxies(1), galaxies(2)
    return ways((made, measured), (made_own, measured_own))


def test_calibration_mends_quantiles_that_are_too_narrow(figures):
    as_they_are, calibrated = (figures[f"quantiles{way}"] for way in (" as they are", ", conformal in bins"))
    assert float(as_they_are[1].rstrip("%")) < 45
    assert float(calibrated[1].rstrip("%")) == pytest.approx(68.3, abs=4)


def test_widths_of_its_own_give_a_sharper_distribution(figures):
    of_crps = {way: float(cells[6]) for way, cells in figures.items()}
    assert of_crps["quantiles, conformal in bins"] < 0.98 * of_crps["redshift alone, conformal in bins"]


def test_table_has_a_row_a_figure_and_a_column_a_way(figures):
    lines = table(figures).splitlines()
    assert len(lines) == 2 + 10
    assert lines[0].count("|") == 6 and "| CRPS |" in lines[8]
