"""A run that is started and nothing more: its lease is taken, and its plan is written."""

from inference.runs.begin import run_leases
from inference.runs.begin import start_run as start_held_run


def start_run(store, request, workload, run_id, *, fresh=False):
    """Start a run of this name and release its leases at once, as if it had ended there."""
    with run_leases(store, request, run_id) as leases:
        return start_held_run(store, request, workload, leases[0], fresh=fresh)
