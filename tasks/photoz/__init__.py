"""The quality of photometric redshifts: metrics, intervals, plots and tables."""
