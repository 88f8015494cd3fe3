"""The script's model."""

import numpy as np


class Line:
    """A redshift from five magnitudes: six float64 weights, the last one alone."""

    def __init__(self, weights):
        self.weights = np.frombuffer(weights, np.float64)

    def __call__(self, magnitudes):
        return magnitudes @ self.weights[:5] + self.weights[5]
