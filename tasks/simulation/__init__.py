"""Simulated galaxy surveys."""
