"""Predicted time and cost, before a run."""
