"""Prefect, as the steps use it: artifacts, retries, cancellation and credentials."""
