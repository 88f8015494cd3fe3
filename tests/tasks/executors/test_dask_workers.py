"""Workers that may take no ranks, and why, in one sentence each."""

import pytest

from tasks.executors.dask_tasks import versions
from tasks.executors.dask_workers import reason_to_refuse, why_it_failed

FOUND = {"versions": versions(), "error": None, "sha256": "ab"}


def refused(**changes):
    return reason_to_refuse(FOUND | changes, versions(), "ab", "a-bucket/payload.json in /store")


def test_a_worker_like_this_machine_is_not_refused():
    assert refused() is None


@pytest.mark.parametrize("name", sorted(versions()))
def test_a_worker_of_another_version_is_refused_with_both_named(name):
    said = refused(versions=versions() | {name: "0.1"})
    assert said == f"it has {name} 0.1 instead of {versions()[name]}: give workers the environment of this machine"


def test_a_worker_whose_look_tells_no_version_is_refused():
    assert refused(versions=None).startswith("it has python None instead of 3.")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module", name="inference"), "it lacks the module inference: install cosmic-flows"),
        (AttributeError("module has no attribute"), "its cosmic-flows is another version ('module has no attribute')"),
        (RuntimeError("Error during deserialization of the task graph.\nThis"), "its scheduler cannot read what"),
    ],
)
def test_what_an_unlike_environment_fails_with_is_one_sentence(error, said):
    found = why_it_failed(error)
    assert found.startswith(said)
    assert "\n" not in found
