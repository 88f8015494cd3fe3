"""A measurement: one run of a sweep's cell; and cells, the runs that share every axis."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from inference.contract.counted import counted
from inference.contract.sample import SAMPLES_PER_MB, samples_of_size
from inference.contract.validation import is_number, shorten
from inference.errors import BadInput
from tasks.reporting.formatting import DASH
from tasks.sweeps.run_metrics import checked_document, figures_of

AXES = {
    "batch_size": "Batch size",
    "partition_size": "Partition size",
    "data_size": "Data size",
    "world_size": "World size",
    "memory_mb": "Function memory",
    "engine": "Engine",
    "executor": "Executor",
    "access": "Access",
    "format": "Format",
}
_SIZES = ("partition_size", "data_size")
_MB_PER_GB = 1024


@dataclass(frozen=True)
class Measurement:
    """One run.

    Attributes:
        axes: the value on every axis of the sweep (AXES).
        repeat: number of the run among those of its cell, from 1.
        document: the run's document, as `cosmic run --json` prints it.
        failed: why there is no whole run, if so; the document may then be empty or partial, and counts for nothing.
    """

    axes: Mapping[str, Any]
    repeat: int
    document: Mapping[str, Any]
    failed: str | None = None

    @cached_property
    def figures(self) -> dict[str, float]:
        """Every metric (`tasks.sweeps.run_metrics.METRICS`) that is known of this run."""
        return figures_of(self.document)

    @property
    def gigabytes(self) -> float:
        """Data read, in GB of 1,024 MB as the partitions are named (contract, "Data": 51.13 samples a MB)."""
        return float(self.document["samples"]) / SAMPLES_PER_MB / _MB_PER_GB

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON."""
        document = dict(self.document)
        return {"axes": dict(self.axes), "repeat": self.repeat, "failed": self.failed, "document": document}

    @classmethod
    def read(cls, wire: object, where: str) -> Self:
        """Check a measurement that comes from a file.

        Raises:
            BadInput: naming the place and the key that is missing or wrong.
        """
        if not isinstance(wire, Mapping) or not isinstance(wire.get("axes"), Mapping):
            raise BadInput(f"{where} is no measurement: it has no axes")
        axes, repeat, failed = wire["axes"], wire.get("repeat"), wire.get("failed")
        for axis, value in axes.items():
            if axis not in AXES or not (isinstance(value, str | None) or (isinstance(value, int) and is_number(value))):
                raise BadInput(f"{where} has a wrong axis {shorten(axis, 40)}: {shorten(value, 40)}")
            if axis in _SIZES and value is not None:
                samples_of_size(str(value))
        if not isinstance(repeat, int) or repeat < 1:
            raise BadInput(f"{where} has a wrong repeat: {shorten(repeat, 40)}")
        if failed is not None:
            return cls(axes, repeat, {}, str(failed))
        return cls(axes, repeat, checked_document(wire.get("document"), where))


@dataclass(frozen=True)
class Cell:
    """The measurements of one point of a sweep.

    Attributes:
        axes: the value on every axis.
        runs: the whole runs.
        failed: the others.
    """

    axes: Mapping[str, Any]
    runs: tuple[Measurement, ...]
    failed: tuple[Measurement, ...] = ()

    def values(self, metric: str) -> list[float]:
        """A figure of every run that knows it."""
        return [run.figures[metric] for run in self.runs if metric in run.figures]

    def mean(self, metric: str) -> float | None:
        """Mean of a figure over the runs."""
        values = self.values(metric)
        return math.fsum(values) / len(values) if values else None

    def label(self, names: Iterable[str]) -> str:
        """The cell's values on some axes: `50 MB, batch 128`."""
        return ", ".join(format_axis_value(name, self.axes.get(name)) for name in names) or "all"


def cells_of(measurements: Iterable[Measurement]) -> list[Cell]:
    """The cells in the order of their axes' values."""
    found: dict[tuple[Any, ...], list[Measurement]] = {}
    for measurement in measurements:
        found.setdefault(tuple(measurement.axes.get(axis) for axis in AXES), []).append(measurement)
    return [
        Cell(
            runs[0].axes,
            tuple(run for run in runs if run.failed is None),
            tuple(run for run in runs if run.failed is not None),
        )
        for _, runs in sorted(found.items(), key=lambda item: tuple(map(rank_of_value, AXES, item[0])))
    ]


def varying(cells: Sequence[Cell]) -> list[str]:
    """The axes on which the cells differ."""
    return [axis for axis in AXES if len({cell.axes.get(axis) for cell in cells}) > 1]


def groups_along(cells: Sequence[Cell], *axes: str) -> dict[str, list[Cell]]:
    """The cells that differ on some axes alone, each group under what its cells share of what else varies."""
    others = [axis for axis in varying(cells) if axis not in axes]
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.label(others), []).append(cell)
    return groups


def comparable_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that read the same amount of data: of the amount most cells read, the larger of two alike."""
    sizes = groups_along(cells, *(axis for axis in AXES if axis != "data_size"))
    return max(sizes.values(), key=lambda group: (len(group), group[0].runs[0].gigabytes), default=[])


def rank_of_value(axis: str, value: object) -> tuple[int, float, str]:
    """Sort key of a value on an axis: sizes and numbers by how large they are, None last."""
    if value is None:
        return 2, 0.0, ""
    if axis in _SIZES:
        return 0, megabytes(str(value)), ""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def megabytes(size: str) -> float:
    """A size written `25MB` or `1.5GB` in MB, 1,024 a GB.

    >>> megabytes("1.5GB")
    1536.0
    """
    return float(size[:-2]) * (_MB_PER_GB if size.upper().endswith("GB") else 1)


def format_axis_value(axis: str, value: object) -> str:
    """A value on an axis with its unit.

    >>> format_axis_value("partition_size", "50MB"), format_axis_value("batch_size", 128)
    ('50 MB', 'batch 128')
    """
    if value is None:
        return {"data_size": "all data", "world_size": "one rank per file", "access": "default access"}.get(axis, DASH)
    if axis in _SIZES:
        size = str(value)
        return f"{size[:-2].strip()} {size[-2:].upper()}"
    if axis == "world_size" and isinstance(value, int):
        return counted(value, "rank")
    words = {"batch_size": "batch {}", "memory_mb": "{} MB memory"}
    return words.get(axis, "{}").format(f"{value:,}" if isinstance(value, int) else value)
