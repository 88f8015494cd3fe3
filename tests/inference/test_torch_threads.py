import os
import subprocess
import sys

import pytest

SEEN = """
import importlib, os, sys

class Door:
    def find_spec(name, path, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Door)
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize(
    "module",
    ["inference.engines.torch_engine", "inference.model.astromae", "tasks.training.fit", "tasks.training.demo_weights"],
)
def test_threads_of_torch_wait_without_spinning_whoever_loads_it(module):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", SEEN, module]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout == "PASSIVE\n"
