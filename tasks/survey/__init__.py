"""Surveys in: FITS cut-outs, object tables and partitions."""
