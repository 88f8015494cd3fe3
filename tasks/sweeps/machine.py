"""The machine that a figure was measured on."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, and the versions that matter to speed, of the machine that this runs on."""
    cpu = platform.processor() or platform.machine()
    memory_gb = None
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
        memory_gb = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": memory_gb,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "torch", "numpy", "prefect", "obstore") if _is_there(name)},
    }


def _is_there(name: str) -> bool:
    """Torch comes with an extra only."""
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    memory = f", {machine['memory_gb']:g} GB" if machine.get("memory_gb") else ""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "onnxruntime", "torch") if name in machine)
    return f"{machine['cpu']}, {machine['cores']} cores{memory}, {machine['system']}; {versions}"
