"""Values in a cluster file that Dask would take and fail on later: sizes, limits of growth, wall times."""

import inspect
import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from inference.contract.validation import is_number, shorten
from inference.errors import BadInput

_COUNTS = ("cores", "processes", "threads_per_worker", "n_workers")
_BYTES = ("memory", "memory_limit")
_LIMITS = ("minimum", "maximum", "minimum_jobs", "maximum_jobs", "minimum_cores", "maximum_cores")
_MEMORY_LIMITS = ("minimum_memory", "maximum_memory")
_TIMES = ("interval", "target_duration")
_RHYTHM = ("wait_count", *_TIMES)
# Arguments of batch systems; of a text in place of a list, each letter would become a line of the job's script.
_LISTS = (
    "job_extra_directives",
    "job_directives_skip",
    "job_script_prologue",
    "worker_extra_args",
    "submit_command_extra",
)
_TEXTS = ("queue", "account", "project", "shebang", "interface", "log_directory", "local_directory")
_SECONDS = "as 02:00:00 (hours:minutes:seconds) or as seconds"
_ANY_SECONDS = r"\d+(:\d+){0,2}"

# By batch system, as in the class's name: the wall times that its commands take, and how they are written.
_WALL_TIMES = {
    "SLURM": (
        r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|INFINITE|UNLIMITED",
        'in quotes, as "02:00:00" or "1-12:00:00" (days-hours:minutes:seconds)',
    ),
    "LSF": (r"\d+(:\d+)?(/\S+)?", 'in quotes, as "02:00" (hours:minutes) or as minutes'),
    "PBS": (_ANY_SECONDS, _SECONDS),
    "Moab": (r"\d+(:\d+){0,3}", _SECONDS),
    "SGE": (_ANY_SECONDS, _SECONDS),
    "OAR": (_ANY_SECONDS, 'in quotes, as "02:00:00" (hours:minutes:seconds)'),
}
# YAML reads 12:30:00 without quotes as a number of seconds, which these take as such.
_TAKE_NUMBERS = {"PBS", "Moab", "SGE"}


def check_arguments(make: type, arguments: Mapping[str, Any], *, grows: bool) -> None:
    """Check `cluster_kwargs` as far as their meaning is the same in all of Dask's clusters.

    Args:
        make: the class that gets them.
        arguments: its arguments.
        grows: the cluster has `adapt_kwargs`, so that it may begin without workers.

    Raises:
        BadInput: naming the key whose value is of no use.
    """
    if arguments.get("asynchronous"):
        raise BadInput("cluster_kwargs: asynchronous is of programs that run an event loop: leave it out")
    for name in _COUNTS:
        value = arguments.get(name)
        least = 0 if name == "n_workers" else 1
        if value is not None and not (is_number(value, least, 10**6) and value == int(value)):
            raise BadInput(f"cluster_kwargs: {name} must be a whole number from {least}, not {shorten(value, 40)}")
    if arguments.get("n_workers") == 0 and not grows:
        raise BadInput(
            "cluster_kwargs: n_workers is 0, so that no worker would start; ask for one, or set adapt_kwargs"
        )
    if (arguments.get("processes") or 1) > arguments.get("cores", math.inf):
        raise BadInput(
            f"cluster_kwargs: {arguments['processes']} processes cannot share {shorten(arguments['cores'], 20)} cores:"
            " ask for a core for each"
        )
    for name in _BYTES:
        _check_bytes("cluster_kwargs", name, arguments.get(name))
    if "walltime" in arguments and make.__name__ == "HTCondorCluster":
        raise BadInput(
            "cluster_kwargs: HTCondor's jobs take no walltime: leave it out, or give the limit that your pool knows in"
            " job_extra_directives, as +MaxRuntime"
        )
    systems = (each.__name__.removesuffix("Cluster") for each in make.__mro__)
    if (system := next((name for name in systems if name in _WALL_TIMES), None)) is not None:
        _check_wall_time(arguments.get("walltime"), system, *_WALL_TIMES[system])
    _check_texts(arguments)
    _check_names(make, arguments)


def _check_texts(arguments: Mapping[str, Any]) -> None:
    for name in _LISTS:
        value = arguments.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise BadInput(f"cluster_kwargs: {name} must be a list of texts, not {shorten(value, 60)}")
    for name in _TEXTS:
        if not isinstance(value := arguments.get(name), str | None):
            raise BadInput(f"cluster_kwargs: {name} must be a text, not {shorten(value, 60)}")


def _check_bytes(where: str, name: str, value: object) -> None:
    from dask.utils import parse_bytes

    if value is None or value == "auto" or is_number(value, 0):
        return
    try:
        if not isinstance(value, str):
            raise ValueError(value)
        parse_bytes(value)
    except ValueError:
        raise BadInput(f"{where}: {name} is written 16GB or 512MiB, not {shorten(value, 40)}") from None


def _check_time(name: str, value: object) -> None:
    from dask.utils import parse_timedelta

    if value is None or is_number(value, 0):
        return
    try:
        if not isinstance(value, str):
            raise ValueError(value)
        parse_timedelta(value)
    except (ValueError, KeyError):
        raise BadInput(
            f"adapt_kwargs: {name} must be seconds, or written 5s or 2 min, not {shorten(value, 40)}"
        ) from None


def _check_wall_time(value: object, system: str, form: str, how: str) -> None:
    if value is None or (system in _TAKE_NUMBERS and is_number(value, 1)):
        return
    if not (isinstance(value, str) and re.fullmatch(form, value) and re.search("[1-9IU]", value)):
        raise BadInput(f"cluster_kwargs: {system} wants its walltime {how}, not {shorten(value, 40)}")


def _check_names(make: type, arguments: Mapping[str, Any]) -> None:
    """Look for names that no constructor has; a LocalCluster would only find out in its workers, again and again.

    Other people's classes pass what they do not know on, to servers that may.
    """
    from distributed import LocalCluster, Nanny, Worker

    if not issubclass(make, LocalCluster) and not make.__module__.startswith("dask_kubernetes"):
        return
    also: tuple[type, ...] = (Nanny, *Worker.__mro__) if issubclass(make, LocalCluster) else ()
    known = {
        name
        for each in (*make.__mro__, *also)
        if "__init__" in vars(each)
        for name in inspect.signature(vars(each)["__init__"]).parameters
    }
    for name in arguments:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise BadInput(f"cluster_kwargs: {make.__name__} has no argument {shorten(name, 60)}{hint}")


def check_growth(make: Any, limits: Mapping[str, Any]) -> None:
    """Check `adapt_kwargs`: known names, counts that are counts, no minimum above its maximum.

    Args:
        make: the class, whose `adapt` says which limits it knows.
        limits: of the cluster's size; empty for a cluster that does not grow.

    Raises:
        BadInput: naming the limit that is of no use.
    """
    parameters = inspect.signature(make.adapt).parameters
    # Dask's own policy takes all but jobs, which a batch system's class counts by itself.
    policy = any(each.name == "Adaptive" or each.kind is each.VAR_KEYWORD for each in parameters.values())
    known = [name for name in _LIMITS if name in parameters or (policy and not name.endswith("_jobs"))]
    for name, value in limits.items():
        if name not in known and not (policy and name in (*_MEMORY_LIMITS, *_RHYTHM)):
            why = "counts jobs of a batch system, and this cluster has none" if name.endswith("_jobs") else "is unknown"
            raise BadInput(f"adapt_kwargs: {shorten(name, 60)} {why}; there are {', '.join(known[:4])}")
        if name in _LIMITS and not _is_limit(name, value):
            raise BadInput(f"adapt_kwargs: {name} must be a whole number, not {shorten(value, 40)}")
        if name in _MEMORY_LIMITS:
            _check_bytes("adapt_kwargs", name, value)
        if name in _TIMES:
            _check_time(name, value)
        if name == "wait_count" and not (is_number(value, 1, 10**6) and value == int(value)):
            raise BadInput(f"adapt_kwargs: {name} must be a whole number from 1, not {shorten(value, 40)}")
    for unit in ("", "_jobs", "_cores"):
        least, most = limits.get(f"minimum{unit}"), limits.get(f"maximum{unit}")
        if most == 0:
            raise BadInput(f"adapt_kwargs: maximum{unit} is 0, so that no worker would ever start")
        if least is not None and most is not None and least > most:
            raise BadInput(
                f"adapt_kwargs: minimum{unit} {least:g} is above maximum{unit} {most:g}: the cluster cannot be both"
            )


def _is_limit(name: str, value: object) -> bool:
    if value is None or (value == math.inf and name.startswith("maximum")):
        return True
    return is_number(value, 0, 10**6) and value == int(value)
