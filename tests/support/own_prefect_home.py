"""A home of its own for Prefect in each test process: a developer's profile and servers are no part of a test.

Prefect looks at the setting when it is imported, so this module is imported before anything that imports Prefect.
"""

import atexit
import os
import shutil
import tempfile

HOME = tempfile.mkdtemp(prefix="cosmic-tests-")
os.environ["PREFECT_HOME"] = HOME
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
