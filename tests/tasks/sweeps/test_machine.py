import os
from importlib.metadata import PackageNotFoundError

from tasks.sweeps.machine import describe, described


def test_a_machine_is_described_with_cores_and_the_versions_that_matter():
    machine = describe()
    assert machine["cores"] == os.cpu_count()
    assert {"cpu", "memory_gb", "system", "python", "onnxruntime", "torch", "numpy"} <= set(machine)
    assert f"{machine['cores']} cores" in described(machine)
    assert f"onnxruntime {machine['onnxruntime']}" in described(machine)


def test_a_machine_without_torch_is_described_without_it(monkeypatch):
    def only_others(name):
        if name == "torch":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("tasks.sweeps.machine.version", only_others)
    assert "torch" not in described(describe())


def test_a_machine_whose_memory_is_not_known_is_described_without_it():
    machine = describe() | {"memory_gb": None}
    assert "GB" not in described(machine)
