import os
from importlib.metadata import PackageNotFoundError

from tasks.sweeps.machine import describe_machine, machine_line


def test_a_machine_is_described_with_cores_and_the_versions_that_matter():
    machine = describe_machine()
    assert machine["cores"] == os.cpu_count()
    assert {"cpu", "memory_gb", "system", "python", "onnxruntime", "torch", "numpy"} <= set(machine)
    assert f"{machine['cores']} cores" in machine_line(machine)
    assert f"onnxruntime {machine['onnxruntime']}" in machine_line(machine)


def test_a_machine_without_torch_is_described_without_it(monkeypatch):
    def only_others(name):
        if name == "torch":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("tasks.sweeps.machine.version", only_others)
    assert "torch" not in machine_line(describe_machine())


def test_a_machine_whose_memory_is_not_known_is_described_without_it():
    machine = describe_machine() | {"memory_gb": None}
    assert "GB" not in machine_line(machine)
