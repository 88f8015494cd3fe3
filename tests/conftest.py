"""Fixtures that many tests share: scripted workers, one Prefect server and one AWS emulator for each session."""

import dataclasses
import io
import json
import os
import socket
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tests.support.own_prefect_home  # noqa: F401 - first: it is too late once Prefect is imported
from tests.support.prefect_command import started_server
from tests.support.prefect_database import give_database, keep_database
from tests.support.surveys import write_store, write_survey
from tests.support.wire_examples import EVENT

# On a busy machine an example may take long to make and to run; neither is a fault. `make soak` tries a hundred.
settings.register_profile("soak", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("house", settings.get_profile("soak"), max_examples=30)
settings.load_profile(os.environ.get("COSMIC_EXAMPLES", "house"))

# Test processes share the cores. Threads of torch that wait must sleep: by default they spin, which on a busy machine
# takes many times the work itself. Read when torch is loaded, so it is set before anything imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

collect_ignore = ["data"]  # scripts that a test stages; they are no doctests of ours
ROOT = Path(__file__).parent.parent
SCRIPTED_WORKER = (sys.executable, "-m", "tests.support.scripted_worker")


# Files that take the longest come first, or one process runs such a file at the end while the other has none left.
LONGEST = (
    *("flows/test_executors", "flows/cli/commands/test_run", "flows/test_storage_faults", "journeys/test_schedules"),
    *("flows/test_benchmark", "flows/cli/test_temporary_server", "tasks/executors/test_step_functions"),
    *("tasks/training/test_loop", "flows/test_kills", "test_docs", "tasks/sweeps/test_plots"),
    *("flows/cli/test_interruption", "flows/test_run", "deployments/test_their_machines", "flows/test_secrets"),
)


@pytest.hookimpl(trylast=True)  # after the order was made random
def pytest_collection_modifyitems(items):
    """Bring the files that take the longest to the front."""
    longest = {ROOT / "tests" / f"{name}.py" for name in LONGEST}
    items.sort(key=lambda item: item.path not in longest)


def events_of(world_size):
    return [
        dataclasses.replace(EVENT, rank=rank, world_size=world_size, data_paths=(f"survey/{rank}.pt",))
        for rank in range(world_size)
    ]


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Writes the script of scripted workers and returns a function that lists their calls: (rank, attempt, process)."""
    script = tmp_path / "script.json"
    monkeypatch.setenv("COSMIC_SCRIPT", str(script))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def write(answers_of):
        script.write_text(json.dumps({str(rank): answers for rank, answers in answers_of.items()}))

        def calls():
            lines = script.with_suffix(".log").read_text().splitlines()
            return [tuple(map(int, line.split())) for line in lines]

        return calls

    return write


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory, pytestconfig):
    """URL of a real Prefect server, started once."""
    home = tmp_path_factory.mktemp("prefect")
    give_database(home, pytestconfig.cache)
    with started_server(home, free_port()) as url:
        keep_database(home, pytestconfig.cache)
        yield url
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all()
        EventsWorker.drain_all()


@pytest.fixture
def prefect_api(prefect_server):
    """Flows called in this test report to the session's server."""
    from tests.support.prefect_command import reporting_to

    with reporting_to(prefect_server):
        yield prefect_server


@pytest.fixture(autouse=True)
def no_aws_setting_is_left_behind():
    """What a test sets for AWS clients of this process, later tests do not find."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    yield
    after = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in after:
        del os.environ[name]
    os.environ.update(before)
    assert after == before, "the test left settings of AWS clients in the environment"


@pytest.fixture(scope="session")
def emulator_url():
    """Address of an AWS emulator, started once."""
    from tasks.aws.emulator import emulated

    with emulated() as endpoint:
        yield endpoint


def point_at(endpoint, patch):
    """Make AWS clients of this process talk to an emulator."""
    from tasks.aws.emulator import environment

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)
    for name, value in environment(endpoint).items():
        patch.setenv(name, value)


@pytest.fixture
def aws(emulator_url, monkeypatch):
    """AWS clients of this test talk to the session's emulator."""
    point_at(emulator_url, monkeypatch)
    return emulator_url


def fill(bucket, weights, folder):
    """Make the bucket, with a survey and the weights."""
    from inference.storage.store import Store
    from tasks.aws.buckets import make_bucket

    write_survey(folder)
    make_bucket(bucket)
    store = Store("s3://")
    for prefix, paths in (("survey", folder.iterdir()), ("models", weights.parent.iterdir())):
        for path in paths:
            store.write(bucket, f"{prefix}/{path.name}", path)


@pytest.fixture(scope="session")
def deployed(emulator_url, tiny_weights, tmp_path_factory):
    """The project's stack on the emulator, its bucket with a survey and the weights; the stack's outputs."""
    from tasks.aws.stack import install

    with pytest.MonkeyPatch.context() as patch:
        point_at(emulator_url, patch)
        fill("cosmicai-test", tiny_weights, tmp_path_factory.mktemp("survey"))
        return install("cosmic-flows", "cosmicai-test", {}).outputs


@pytest.fixture(scope="session")
def filled_bucket(emulator_url, tiny_weights, tmp_path_factory):
    """A bucket on the emulator, with a survey and the weights and no stack; its name."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(emulator_url, patch)
        fill("cosmicai-plain", tiny_weights, tmp_path_factory.mktemp("survey"))
    return "cosmicai-plain"


@pytest.fixture
def without_aws(monkeypatch, tmp_path):
    """A machine that knows no credentials, no region and no endpoint; the test may set some."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def plain_bucket(aws, filled_bucket):
    """That bucket, for a test whose AWS clients talk to the emulator; its name."""
    return filled_bucket


@pytest.fixture
def stack(aws, deployed):
    """The stack, for a test whose AWS clients talk to the emulator; its outputs."""
    return deployed


@pytest.fixture
def replaced(stack):
    """Put a function of tests/support/fast_function.py in the executor's place, and afterwards the project's own."""
    from tasks.aws.function_package import zip_package
    from tasks.aws.session import client

    functions = client("lambda")
    archive = io.BytesIO(zip_package(None))
    with zipfile.ZipFile(archive, "a") as package:
        package.writestr("fast_function.py", (ROOT / "tests" / "support" / "fast_function.py").read_text())

    def put(handler, code, timeout_s=900):
        name = {"FunctionName": "cosmic-executor"}
        updated = partial(
            functions.get_waiter("function_updated").wait, **name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
        )
        functions.update_function_code(**name, ZipFile=code)
        updated()
        functions.update_function_configuration(**name, Handler=handler, Timeout=timeout_s)
        updated()

    yield lambda name, timeout_s=900: put(f"fast_function.{name}", archive.getvalue(), timeout_s)
    put("inference.handler.lambda_handler", zip_package(None))


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A small AstroMAE with random weights, its graph exported beside it."""
    import torch

    from inference.model.astromae import AstroMAE
    from inference.model.checkpoint import export_onnx, save
    from tests.support.models import TINY

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, AstroMAE(TINY))
    export_onnx(path)
    return path


@pytest.fixture
def store(tmp_path, tiny_weights):
    """A local store with a survey of four partitions and the weights, graph included."""
    write_store(tmp_path / "store", tiny_weights)
    return tmp_path / "store"
