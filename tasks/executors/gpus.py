"""Which CUDA devices this machine offers, without loading torch or a driver."""

import os
from pathlib import Path

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
