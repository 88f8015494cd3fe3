"""A home of its own for Prefect in tests: a developer's profile and servers are no part of a test.

Prefect looks at the setting when it is imported, so this module is imported before anything that imports Prefect. What
a test process starts keeps that process's home.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "prefect-of-tests-"

if not Path(os.environ.get("PREFECT_HOME", "")).name.startswith(_PREFIX):
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)
