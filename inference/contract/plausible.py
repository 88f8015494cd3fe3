"""Is this value plausible: one table of ranges and of marks for "not measured", for everything that reads numbers.

Catalogues write -99, 99, 9.9999 or 0 where nothing was measured. Such a number is inside the range of some quantities,
so each quantity has a range and the marks that may stand inside it.
"""

from dataclasses import dataclass

import numpy as np

SENTINELS = (-9999.0, -999.0, -99.99, -99.9, -99.0, -9.0, 9.99, 9.9999, 99.0, 99.9, 99.99, 999.0, 9999.0)


@dataclass(frozen=True)
class Quantity:
    """A measured quantity.

    Attributes:
        name: what a message calls it.
        low, high: measured values lie strictly between them.
        zero_is_unknown: exactly 0 means "not measured".
        marks: values inside the range that mean "not measured".
    """

    name: str
    low: float
    high: float
    zero_is_unknown: bool
    marks: tuple[float, ...] = SENTINELS

    def measured(self, values: np.ndarray) -> np.ndarray:
        """Which of the values, of any shape, are plausible measurements.

        >>> MAGNITUDE.measured(np.array([17.2, 99.0, -9999.0, np.nan, 9.9999])).tolist()
        [True, False, False, False, False]
        """
        numbers = np.asarray(values, np.float64)
        with np.errstate(invalid="ignore"):
            within = (numbers > self.low) & (numbers < self.high)
        good: np.ndarray = within & ~self.is_mark(numbers)
        return good

    def is_mark(self, values: np.ndarray) -> np.ndarray:
        """Which of the values, of any shape, are marks for "not measured"."""
        marks: np.ndarray = np.isin(np.asarray(values, np.float64), self._marks())
        return marks

    def why_not(self, value: float) -> str:
        """What is wrong with a value that is not measured, as the end of a sentence.

        >>> MAGNITUDE.why_not(-9999.0)
        'is -9999, which means "not measured"'
        >>> REDSHIFT.why_not(1208.7)
        'is 1208.7, outside -0.1 to 20'
        """
        if not np.isfinite(value):
            return f"is {value:g}"
        if value in self._marks():
            return f'is {value:g}, which means "not measured"'
        return f"is {value:g}, outside {self.low:g} to {self.high:g}"

    def _marks(self) -> list[float]:
        """Each mark as it is, and as it comes out of single precision."""
        marks = [*self.marks, 0.0] if self.zero_is_unknown else list(self.marks)
        return [*marks, *np.array(marks, np.float32).astype(float).tolist()]


MAGNITUDE = Quantity("magnitude", 0.0, 40.0, zero_is_unknown=True)
FLUX = Quantity("flux", -1e9, 1e9, zero_is_unknown=True)  # nanomaggies; the sky's noise makes it negative
# Nanomaggies. Among thousands of pixels one may well be 99, but none is so far below the sky.
PIXEL = Quantity("pixel", -1e6, 1e9, zero_is_unknown=False, marks=(-9999.0, -999.0, -99.0))
REDSHIFT = Quantity("redshift", -0.1, 20.0, zero_is_unknown=True)  # spectroscopic; the nearest galaxies approach us
# A code whose grid begins at 0 predicts exactly 0; such predictions are poor, and leaving them out would flatter it.
PREDICTION = Quantity("predicted redshift", -1.0, 20.0, zero_is_unknown=False)
