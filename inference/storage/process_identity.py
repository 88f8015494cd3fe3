"""Which process this is, and whether another one of this machine still lives."""

import os
from pathlib import Path


def this_process() -> str:
    """An identity of this process that no other one has, before or after a restart; "" without /proc."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> str:
    """Boot, process table, number and start time of a process; "" where there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        table = Path("/proc/self/ns/pid").readlink()
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else f"{boot} {table} {pid} {fields[18]}"


def is_dead(identity: str) -> bool:
    """Whether a process of this very machine and process table is gone; of others nothing is known."""
    ours, theirs = this_process().split(), identity.split()
    if len(theirs) != 4 or ours[:2] != theirs[:2] or not theirs[2].isdecimal():
        return False
    return identity_of(int(theirs[2])) != identity
