"""Which CUDA devices this machine offers, and which of them is a worker's own, without loading torch or a driver."""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "OAR_JOB_ID")  # where batch systems name a job
_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus(driver: Path = _DRIVER) -> list[str]:
    """The devices as CUDA_VISIBLE_DEVICES names them: those it lists, else all that the driver knows; often none."""
    try:
        count = sum(1 for _ in driver.iterdir())
    except OSError:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(count)]
    devices = [device.strip() for device in named.split(",")]
    end = next((n for n, device in enumerate(devices) if device in {"", "-1", "none"}), len(devices))
    return devices[:end]  # CUDA, too, sees none beyond the first that is no device


def claim_gpu(gpus: Sequence[str], folder: Path | None = None) -> str:
    """One of this job's devices for this process alone, until it ends; shared where there are more processes.

    Processes of one job agree by locks in a folder of their machine; another job's device of the same name is another.

    Args:
        gpus: as CUDA_VISIBLE_DEVICES names them, at least one.
        folder: of the locks; default the scratch folder.
    """
    job = next((os.environ[name] for name in _JOBS if os.environ.get(name)), "none")
    for gpu in gpus:
        name = "".join(each if each.isalnum() else "-" for each in f"{job}-{gpu}")
        with suppress(OSError):
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
            lock = os.open((folder or Path(gettempdir())) / f"cosmic-gpu-{os.getuid()}-{name}.lock", flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            return gpu  # the lock stays open as long as the process runs
    return gpus[os.getpid() % len(gpus)]
