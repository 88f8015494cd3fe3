"""Wall seconds, CPU seconds and resident memory of a rank, as the process itself sees them."""

import platform
import re
import resource
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

# As Linux names them, the widest first: those of x86, then those of Arm.
_INSTRUCTIONS = (
    *("amx_int8", "amx_bf16", "amx_tile", "avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "avx"),
    *("sve2", "sve", "i8mm", "bf16", "asimddp", "asimd"),
)
WORKER = uuid.uuid4().hex[:12]  # names this process in the rank results that it makes


class Stopwatch:
    """Wall and CPU seconds of each stage of a rank, from the clock's making on."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self._wall0, self._cpu0 = time.perf_counter(), time.process_time()
        self._wall = dict.fromkeys(("load", "read", "compute", "loop", "write"), 0.0)
        self._cpu = dict.fromkeys(("load", "read", "compute", "write"), 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's seconds to the stage `name`."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._wall[name] += time.perf_counter() - wall
        self._cpu[name] += time.process_time() - cpu

    @contextmanager
    def loop(self) -> Iterator[None]:
        """Count the block's wall seconds, stages in it included, to the inference loop."""
        wall = time.perf_counter()
        yield
        self._wall["loop"] += time.perf_counter() - wall

    def seconds(self) -> dict[str, float]:
        """All figures so far, named as in `inference.contract.rank_result.RankResult`."""
        return (
            {f"wall_{name}_s": seconds for name, seconds in self._wall.items()}
            | {f"cpu_{name}_s": seconds for name, seconds in self._cpu.items()}
            | {
                "wall_total_s": time.perf_counter() - self._wall0,
                "cpu_total_s": time.process_time() - self._cpu0,
            }
        )


def reset_peak_memory() -> float:
    """Start the high-water mark of resident memory anew where Linux allows it; return MB in use now.

    Where it does not, the mark goes on covering the process's whole life.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS") or peak_memory_mb()


def peak_memory_mb() -> float:
    """High-water mark of the process's resident memory, MB of 1,000,000 bytes."""
    return _status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _status_mb(name: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


@lru_cache(maxsize=1)
def vector_instructions() -> str:
    """The processor's instructions for vectors and matrices that decide which code an engine's library runs.

    Returns:
        Their names as Linux has them in /proc/cpuinfo, the widest first, such as "avx512_vnni avx512f avx2"; the
        machine's architecture where none is known.
    """
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    there = set(found[1].split()) if found else set()
    return " ".join(name for name in _INSTRUCTIONS if name in there) or platform.machine()
