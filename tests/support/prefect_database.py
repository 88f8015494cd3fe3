"""The empty database of a Prefect server, kept from one session of tests to the next.

The migrations that make it take a server as long as everything else of its start.
"""

import os
import shutil
import sqlite3
from contextlib import closing

import prefect

NAME = "prefect.db"


def _kept(cache):
    return cache.mkdir("prefect-database") / f"{prefect.__version__}.db"


def give_database(home, cache):
    """Put the database into a Prefect home, if a session before this one has kept it."""
    home.mkdir(exist_ok=True)
    if _kept(cache).exists():
        shutil.copyfile(_kept(cache), home / NAME)


def keep_database(home, cache):
    """Keep the database of a server that has just started, and has no flow run yet."""
    kept = _kept(cache)
    if not kept.exists():
        part = kept.with_suffix(f".{os.getpid()}")
        with closing(sqlite3.connect(home / NAME)) as made, closing(sqlite3.connect(part)) as copy:
            made.backup(copy)
        part.replace(kept)
