"""A process of its own for what is measured: it pays for no other's imports, memory or threads."""

import importlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

_Found = TypeVar("_Found")


def alone(function: Callable[..., _Found], *arguments: Any) -> _Found:
    """What the function, one of a module, returns from a new interpreter; what it raises is raised here."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def measured(part: str) -> dict[str, Any]:
    """What a part of `make bench` measures."""
    found: dict[str, Any] = importlib.import_module(f"benchmarks.parts.{part}").measure()
    return found
