"""Rates of this kind of machine, for whoever has no runs of their own to go by."""

LOCAL_RATE = 260.0  # samples/s of a local core with a model of the published size (docs/published.md)
SIMULATED_PER_S = 140.0  # galaxies that a core simulates, measured on two cores of a shared machine
