"""Sweeps: cells, statistics, tables, plots, findings and comparisons."""
