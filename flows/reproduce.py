"""The reproduction: model, survey, five sweeps, and a page that sets the class report's tables beside ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prefect import flow

from flows.benchmark import benchmark
from flows.parameters import DEFAULT_STORE, store_root
from inference.contract.counted import counted
from inference.errors import BadInput, CosmicError
from inference.storage.lease import HeldLease, lease_beside
from inference.storage.store import S3_ROOT, Store
from inference.storage.writable import check_writable
from tasks.aws.emulator import emulated_here
from tasks.aws.stack import install
from tasks.executors.base import cores
from tasks.planning.pace import pace
from tasks.prefect_support.last_line import did
from tasks.prefect_support.tags import tag_flow_run
from tasks.publish_reproduction import publish_reproduction
from tasks.reporting.formatting import duration
from tasks.reporting.terminal import announce
from tasks.reproduction.scales import (
    BUCKET,
    LOCAL,
    MODEL,
    SCALES,
    SEED,
    expected_s,
    simulating_s,
    sweeps_of,
)
from tasks.simulate import simulate_survey, survey_file
from tasks.training.new_model import new_model

_MODEL_SEED = 0
_BELIEVED_S = 60.0  # for so long the expectation counts against what was seen: a first short step tells little


def check_reproduction(scale: str, store: str, folder: str) -> None:
    """Look at what a reproduction needs, and write nothing; each sweep looks again at what it needs itself.

    Raises:
        BadInput: there is no such scale, the emulator is not installed, or a folder cannot be written.
    """
    if scale not in SCALES:
        raise BadInput(f"scale must be one of {', '.join(SCALES)}, not {scale!r:.40}")
    if "://" in store:
        raise BadInput("--store must be a folder: the sweeps on Lambda and Step Functions run on the emulator")
    if find_spec("ministack") is None:
        raise BadInput("the emulator is not installed: pip install 'cosmic-flows[emulator]'")
    for root in (store, folder):
        check_writable(Store(root))


@flow(name="reproduce", flow_run_name="reproduce {scale}", validate_parameters=False)
def reproduce(scale: str = "small", store: str = DEFAULT_STORE, folder: str = "reproduction") -> dict[str, Any]:
    """Make the model and the survey, run the sweeps, and write the page.

    Args:
        scale: `small` (ten minutes on two cores), `report` (1 GB) or `full` (12.6 GB).
        store: root of the local object store.
        folder: gets the page, and tables and plots of each sweep. A sweep of local processes that was interrupted goes
            on where it stopped.

    Returns:
        The document of the reproduction: the scale, each sweep's document, and `page`.

    Raises:
        BadInput: something was wrong before the first galaxy was simulated.
        LeaseHeldError: another process makes this reproduction.
        CosmicError: a run of a sweep failed; the page is written all the same, and says so.
    """
    check_reproduction(scale, store, folder)
    tag_flow_run("reproduce")
    place = Path(folder).expanduser().resolve()
    with lease_beside(place, "cosmic reproduce", f"the reproduction in {folder}").keep(temporary=True) as held:
        return _reproduce(scale, store, folder, held)


def _reproduce(scale: str, store: str, folder: str, held: HeldLease) -> dict[str, Any]:
    wanted, root, there = SCALES[scale], store_root(store), cores()
    sweeps = sweeps_of(wanted, there)
    expected = {name: expected_s(sweep, there) for name, sweep in sweeps.items()}
    if not survey_file(wanted.samples, SEED).exists():
        expected = {"survey": simulating_s(wanted, there)} | expected
    clock = _Clock({step: pace() * seconds for step, seconds in expected.items()})
    weights = new_model("full", _MODEL_SEED)
    Store(root).write(BUCKET, MODEL, weights)
    if "survey" in expected:
        clock.begin("survey", "simulate the survey")
        simulate_survey(wanted.samples, SEED)
    documents: dict[str, Any] = {}

    def measure(name: str, place: str) -> None:
        held.check()
        clock.begin(name, sweeps[name].description.rstrip("."))
        sweep = sweeps[name].model_dump()
        documents[name] = benchmark(sweep, None, place, results=str(Path(folder) / name))

    for name in LOCAL:
        measure(name, root)
    with _on_the_emulator(weights):
        for name in sweeps:
            if name not in LOCAL:
                measure(name, S3_ROOT)
    held.check()
    document = publish_reproduction(scale, documents, clock.elapsed_s, folder)
    failed = [f"{name}: {run['error']}" for name, sweep in documents.items() for run in sweep["failed"]]
    if failed:
        raise CosmicError(
            f"{counted(len(failed), 'run')} failed, and {document['page']} lacks them; the first is {failed[0]}"
        )
    did(f"{counted(len(documents), 'sweep')} beside the class report")
    return document


class _Clock:
    """Says which step of how many begins, and how long all that is left is expected to take."""

    def __init__(self, expected: dict[str, float]) -> None:
        self._expected, self._began = expected, time.monotonic()
        self._steps = list(expected)

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def begin(self, step: str, what: str) -> None:
        """Announce a step; what the earlier ones took corrects the expectation of those to come."""
        at = self._steps.index(step)
        before = sum(self._expected[name] for name in self._steps[:at])
        left = sum(self._expected[name] for name in self._steps[at:])
        pace = (self.elapsed_s + _BELIEVED_S) / (before + _BELIEVED_S)
        announce(f"step {at + 1} of {len(self._steps)}: {what}; about {duration(left * pace)} left")


@contextmanager
def _on_the_emulator(weights: bytes) -> Iterator[None]:
    """AWS clients of this process talk to the emulator, where the stack and the model are."""
    with emulated_here():
        install("cosmic-flows", BUCKET, {})
        Store(S3_ROOT).write(BUCKET, MODEL, weights)
        yield
