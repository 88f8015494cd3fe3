"""No command imports what it does not use: each is called on small input, and what it imported is looked at."""

import json
import subprocess
import sys

import pytest

from flows.cli.command_table import COMMANDS
from inference.storage.store import Store
from tasks.invocations.invocation import Invocation
from tasks.invocations.stored import keep_invocations
from tests.support.archived_records import old_run
from tests.support.finished_run import BUCKET, PATH, finished_run
from tests.support.surveys import request_of

RUN = f"{BUCKET}/{PATH}"
# What each command that needs no Prefect may import of the libraries that take long.
ALLOWED = {
    "init": ((), ("fresh",)),
    "inspect": (("pandas",), (f".cosmic/store/{BUCKET}/survey/1.pt",)),
    "partition": (("pandas",), (f".cosmic/store/{BUCKET}/survey/1.pt", "--samples", "4", "--to", "cut")),
    "cluster": ((), ("cluster.yaml",)),
    "plan": ((), ("request.json",)),
    "cost": ((), (RUN,)),
    "catalogue": (("pandas",), (RUN,)),
    "metrics": (("pandas",), (RUN,)),
    "model": ((), ("new", "new.safetensors", "--size", "small")),
    "compare": ((), (RUN, RUN)),
    "summarize": ((), ("combined_data.json",)),
    "examples": ((), ("copied",)),
    "completion": ((), ("bash",)),
}
# Prefect's flows, its server or its log; a download; a page that is drawn; or AWS, where its SDK takes the time.
OTHERS = {"run", "bench", "reproduce", "train", "ingest", "simulate", "calibrate", "ui", "doctor", "open"}
ON_AWS = {"logs", "history", "prices", "deploy", "destroy", "emulate", "import-checkpoint"}
HEAVY = ("prefect", "pandas", "matplotlib", "scipy", "astropy", "torch", "botocore", "fastapi", "sqlalchemy")
CALL = """
import sys
from flows.cli import main
assert main(sys.argv[2:]) in {0, 1}
print(*(name for name in sys.argv[1].split(",") if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    finished_run(
        folder / ".cosmic/store", ranks=[], cost={"usd": 0.01}, metrics={}, samples=10, makespan_s=1.0, end_to_end_s=2.0
    )
    call = Invocation(
        rank=0, attempt=1, started_at=1.7e9, ended_at=1.7e9 + 2, duration_s=2.0, billed_s=2.0, memory_mb=512
    )
    keep_invocations(Store(folder / ".cosmic/store"), BUCKET, PATH, [call], {0: "a"}, folder=PATH)
    (folder / "request.json").write_text(json.dumps(request_of(model=None)))
    (folder / "cluster.yaml").write_text(
        "cluster_class: dask_jobqueue.SLURMCluster\ncluster_kwargs: {cores: 1, memory: 1GB, n_workers: 1}\n"
    )
    old_run(folder / "combined_data.json", 3)
    return folder


def test_every_command_says_what_it_may_import():
    assert set(ALLOWED) | OTHERS | ON_AWS == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_command_imports_no_library_that_it_does_not_use(name, folder, monkeypatch):
    for variable in ("PREFECT_API_URL", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(folder / "home"))
    allowed, words = ALLOWED[name]
    called = subprocess.run(
        [sys.executable, "-c", CALL, ",".join(HEAVY), name, *words], cwd=folder, capture_output=True, text=True
    )
    assert called.returncode == 0, called.stderr
    assert set(called.stderr.splitlines()[-1].split()) <= set(allowed)
