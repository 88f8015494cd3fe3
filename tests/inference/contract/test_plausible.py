import numpy as np
import pytest

from inference.contract.plausible import FLUX, MAGNITUDE, PIXEL, PREDICTION, REDSHIFT, SENTINELS

QUANTITIES = [MAGNITUDE, FLUX, PIXEL, REDSHIFT, PREDICTION]
GOOD = {"magnitude": 17.5, "flux": 12.5, "pixel": -0.25, "redshift": 0.125, "predicted redshift": 0.125}


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.name)
class TestQuantity:
    def test_measured_takes_good_values_of_any_shape(self, quantity):
        assert quantity.measured(np.full((3, 2), GOOD[quantity.name])).tolist() == [[True, True]] * 3

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_measured_leaves_marks_out_in_either_precision(self, quantity, dtype):
        for value in (*quantity.marks, np.nan, np.inf, -np.inf):
            assert not quantity.measured(np.array([value], dtype)).any()
            assert quantity.why_not(float(dtype(value))).startswith("is ")
        assert quantity is PIXEL or quantity.marks == SENTINELS

    def test_measured_leaves_out_what_lies_outside_the_range(self, quantity):
        assert not quantity.measured(np.array([quantity.low - 0.5, quantity.high + 0.5, 1e300])).any()
        assert "outside" in quantity.why_not(quantity.high * 1.5)

    def test_measured_knows_what_zero_means(self, quantity):
        assert quantity.measured(np.zeros(1)).item() is not quantity.zero_is_unknown
