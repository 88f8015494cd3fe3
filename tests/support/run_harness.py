"""A run in a process of its own, whose calls of the rank handler are recorded."""

import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from inference.storage.store import Store
from tasks.aws.emulator import inherited
from tests.conftest import ROOT
from tests.support.surveys import in_bucket

COSMIC = str(Path(sys.executable).with_name("cosmic"))


def kill_midway(process, took_s, seed):
    """Kill a command, which takes `took_s` when nothing disturbs it, at the moment that the seed draws."""
    time.sleep(took_s * random.Random(seed).uniform(0.2, 1.0))
    process.kill()
    process.wait()


class RunHarness:
    """One request, the command that runs it, and a record of every call of its ranks' handler."""

    def __init__(self, folder, request, store, options, variables):
        self.folder, self.request, self.store, self.options = folder, request, store, options
        self.variables = variables
        self.path = request["result_path"]
        self.log = folder / "calls"
        self.inside = []  # a command in which the command is run

    def calls(self):
        """(rank, process id of the worker) of every call, in order."""
        if not self.log.exists():
            return []
        return [(int(line.split()[0]), int(line.split()[2])) for line in self.log.read_text().splitlines()]

    def start(self, name="", changes=(), **variables):
        """Start the command. Its output goes to files, because a pipe that nobody reads would block it."""
        path = self.folder / f"request{name}.json"
        path.write_text(json.dumps(self.request | dict(changes)))
        with (self.folder / f"out{name}").open("w") as out, (self.folder / f"err{name}").open("w") as err:
            return subprocess.Popen(
                [*self.inside, COSMIC, "run", str(path), "--json", *self.options],
                stdout=out,
                stderr=err,
                env=inherited(os.environ) | self.variables | variables,
                cwd=self.folder,
            )

    def end(self, process, name=""):
        """The document of a run that must succeed."""
        assert process.wait(timeout=280) == 0, (self.folder / f"err{name}").read_text()
        return json.loads((self.folder / f"out{name}").read_text())

    def done(self):
        """{rank: its result as bytes} of the results in the store."""
        found = self.store.list(self.request["bucket"], self.path)
        names = {stored.key.removeprefix(f"{self.path}/").removesuffix(".json"): stored.key for stored in found}
        return {
            int(name): self.store.read(self.request["bucket"], key) for name, key in names.items() if name.isdecimal()
        }

    def redshifts(self):
        data = self.store.read(self.request["bucket"], f"{self.path}/predictions.parquet")
        return pd.read_parquet(io.BytesIO(data))

    def wait_for_calls(self, count, process):
        while len(self.calls()) < count:
            assert process.poll() is None, [path.read_text() for path in self.folder.glob("err*")]
            time.sleep(0.01)

    def settle(self):
        """Wait until the ranks that outlived their orchestrator have ended."""
        before = None
        while before != (before := len(self.done())):
            time.sleep(1.0)


def local_run(folder, bucket, prefect_server, slow_s=0.4):
    """A run over a copy of a bucket, on two local workers that take `slow_s` longer for each rank."""
    shutil.copytree(bucket, folder / "store" / "cosmicai-test")
    variables = {"PREFECT_API_URL": prefect_server, "PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'slowed'}:{ROOT}"}
    variables |= {"COSMIC_CALLS": str(folder / "calls"), "COSMIC_SLOW": str(slow_s)}
    options = ["--store", str(folder / "store"), "--workers", "2"]
    request = in_bucket("cosmicai-test", result_path="results/test")
    return RunHarness(folder, request, Store(folder / "store"), options, variables)
