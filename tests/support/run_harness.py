"""A run in a process of its own, whose every call of the ranks' function is noted."""

import io
import json
import os
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


class Scene:
    """One request, the place where it runs, and every call of its ranks' function."""

    def __init__(self, folder, request, store, words, variables):
        self.folder, self.wanted, self.store, self.words = folder, request, store, words
        self.variables = variables
        self.path = request["result_path"]
        self.log = folder / "calls"

    def calls(self):
        """The ranks that were called, in order, and the processes that served them."""
        if not self.log.exists():
            return []
        return [(int(line.split()[0]), int(line.split()[2])) for line in self.log.read_text().splitlines()]

    def start(self, name="", wanted=(), **changes):
        """Start the command; its output goes to files, for nobody may be there to read it."""
        request = self.folder / f"request{name}.json"
        request.write_text(json.dumps(self.wanted | dict(wanted)))
        with (self.folder / f"out{name}").open("w") as out, (self.folder / f"err{name}").open("w") as err:
            return subprocess.Popen(
                [COSMIC, "run", str(request), "--json", *self.words],
                stdout=out,
                stderr=err,
                env=inherited(os.environ) | self.variables | changes,
                cwd=self.folder,
            )

    def end(self, process, name=""):
        assert process.wait(timeout=280) == 0, (self.folder / f"err{name}").read_text()
        return json.loads((self.folder / f"out{name}").read_text())

    def done(self):
        """The ranks' results that lie there, by rank, as bytes."""
        found = self.store.list(self.wanted["bucket"], self.path)
        names = {stored.key.removeprefix(f"{self.path}/").removesuffix(".json"): stored.key for stored in found}
        return {
            int(name): self.store.read(self.wanted["bucket"], key) for name, key in names.items() if name.isdecimal()
        }

    def redshifts(self):
        data = self.store.read(self.wanted["bucket"], f"{self.path}/predictions.parquet")
        return pd.read_parquet(io.BytesIO(data))

    def wait_for_calls(self, count, process):
        while len(self.calls()) < count:
            assert process.poll() is None, [path.read_text() for path in self.folder.glob("err*")]
            time.sleep(0.01)

    def settle(self):
        """Wait until ranks that outlived their orchestrator have ended."""
        before = None
        while before != (before := len(self.done())):
            time.sleep(1.0)


def local_scene(folder, bucket, prefect_server, slow_s=0.4):
    """A run on two local workers that take so much longer for a rank, over a copy of a bucket."""
    shutil.copytree(bucket, folder / "store" / "cosmicai-test")
    variables = {"PREFECT_API_URL": prefect_server, "PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'slowed'}:{ROOT}"}
    variables |= {"COSMIC_CALLS": str(folder / "calls"), "COSMIC_SLOW": str(slow_s)}
    words = ["--store", str(folder / "store"), "--workers", "2"]
    wanted = in_bucket("cosmicai-test", result_path="results/test")
    return Scene(folder, wanted, Store(folder / "store"), words, variables)
