"""A sweep: a file that names what varies, and the cells that come of it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from inference.contract.counted import counted
from inference.contract.near import near, near_key
from inference.contract.run_request import MEMORY_MB, RunRequest
from inference.contract.sample import samples_of_size
from inference.contract.validation import shorten, with_changes
from inference.errors import BadInput
from tasks.input_files.yaml_text import read_yaml

MAX_RUNS = 10_000
_PACKAGED = Path(__file__).parents[2] / "benchmarks" / "sweeps"
_SET_BY_CELLS = (
    "batch_size",
    "data_prefix",
    "file_limit",
    "world_size",
    "memory_mb",
    "engine",
    "access",
    "partition",
    "result_path",
)


def _several(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _size(value: object) -> object:
    if not isinstance(value, str):
        raise BadInput(f"a size is written as 25MB, 1GB or 1TB, not {shorten(value, 40)}")
    samples_of_size(value)
    return value.replace(" ", "").upper()


Size = Annotated[str, BeforeValidator(_size)]
Executor = Literal["local", "lambda", "step-functions", "dask"]
Engine = Literal["onnxruntime", "torch"]
Access = Literal["download", "stream", "memory-map"]
Format = Literal["pt", "safetensors"]


class Axes(BaseModel):
    """What varies; a single value stands for a list of one.

    Attributes:
        batch_size: samples a batch.
        partition_size: of a partition file; the partitions lie under a prefix of that name.
        data_size: how much of the data set is read, None for all of it.
        world_size: ranks, None for one a file.
        memory_mb: of the Lambda function.
        engine: of the built-in engine.
        executor: where ranks run.
        access: how a rank reads, None for the store's default.
        format: of the partition files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: Annotated[list[int], BeforeValidator(_several), Field(min_length=1)] = [512]
    partition_size: Annotated[list[Size], BeforeValidator(_several), Field(min_length=1)] = ["100MB"]
    data_size: Annotated[list[Size | None], BeforeValidator(_several), Field(min_length=1)] = [None]
    world_size: Annotated[list[int | None], BeforeValidator(_several), Field(min_length=1)] = [None]
    memory_mb: Annotated[list[int], BeforeValidator(_several), Field(min_length=1)] = [MEMORY_MB]
    engine: Annotated[list[Engine], BeforeValidator(_several), Field(min_length=1)] = ["onnxruntime"]
    executor: Annotated[list[Executor], BeforeValidator(_several), Field(min_length=1)] = ["local"]
    access: Annotated[list[Access | None], BeforeValidator(_several), Field(min_length=1)] = [None]
    format: Annotated[list[Format], BeforeValidator(_several), Field(min_length=1)] = ["pt"]


class SurveySource(BaseModel):
    """Where partitions come from that are not there yet.

    Attributes:
        source: a survey file; or
        samples: how many galaxies to simulate,
        seed: and of which random numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = None
    samples: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    seed: int = 7

    @model_validator(mode="after")
    def _one_of_them(self) -> "SurveySource":
        if (self.source is None) == (self.samples is None):
            raise BadInput("survey: name either a source or a number of samples to simulate")
        return self


@dataclass(frozen=True)
class PlannedCell:
    """One point of a sweep, run `repeats` times.

    Attributes:
        name: as result paths in use are called: `filelimit-10_batchsize-128_prefix-50MB`, and what else varies.
        axes: the value on every axis.
        executor: where its ranks run.
        request: the run request, without result_path.
        ranks: expected invocations of one run.
        samples: expected samples of one run.
    """

    name: str
    axes: Mapping[str, Any]
    executor: str
    request: Mapping[str, Any]
    ranks: int
    samples: int

    def request_of(self, root: str, repeat: int) -> dict[str, Any]:
        """The request of one repeat, its results under `<root>/<name>/<repeat>`."""
        return {**self.request, "result_path": f"{root}/{self.name}/{repeat}"}


class Sweep(BaseModel):
    """What a sweep file says.

    Attributes:
        name: of the sweep, and of its folder of results.
        description: what it is meant to show.
        request: what all cells share, as in a run request; at least bucket and data_bucket.
        axes: what varies.
        repeats: runs of each cell; they take turns, so that a slow hour strikes all cells alike.
        workers: processes of the local executor, and of Dask's where the request names no cluster.
        reuse: whether a data size may exceed the data set, files being reused round robin.
        survey: where partitions come from that are not there yet.
        results: folder in the bucket under which result paths begin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    description: str = ""
    request: dict[str, Any]
    axes: Axes = Axes()
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    reuse: bool = False
    survey: SurveySource | None = None
    results: str = "results"

    @classmethod
    def read(cls, document: object, changes: Mapping[str, Any] | None = None) -> "Sweep":
        """Check a sweep that has been parsed.

        Args:
            document: the file's content.
            changes: laid over it key by key, as a deployment does to cut its data down.

        Raises:
            BadInput: one sentence naming what is unknown, missing, wrong or contradictory.
        """
        if not isinstance(document, Mapping):
            raise BadInput("a sweep must be a mapping of keys")
        merged = with_changes(document, changes or {})
        try:
            sweep = cls.model_validate(merged)
        except ValidationError as error:
            errors = error.errors()
            first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
            cause = first.get("ctx", {}).get("error")
            field = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                meant = near_key(cls, first["loc"])
                raise BadInput(f"unknown key in the sweep: {shorten(field)[1:-1]}{meant}") from None
            raise BadInput(f"the sweep's {shorten(field)[1:-1]}: {cause or first['msg']}") from None
        for name in _SET_BY_CELLS:
            if name in sweep.request:
                raise BadInput(
                    f"the sweep's request has {name}, which is an axis or made from them: leave it out there"
                )
        runs = sweep.repeats * math.prod(len(values) for _, values in sweep.axes)
        if runs > MAX_RUNS:
            raise BadInput(f"the sweep comes to {runs:,} runs; at most {MAX_RUNS:,} are taken")
        sweep.cells()
        return sweep

    @classmethod
    def load(cls, path: Path, changes: Mapping[str, Any] | None = None) -> "Sweep":
        """Read a sweep file.

        Args:
            path: the file, or the bare name of a sweep that comes with the package, such as `smoke`.
            changes: see `read`.

        Raises:
            BadInput: naming the file: it cannot be read, is no YAML, or `read` refuses it.
        """
        if not path.suffix and (packaged := _PACKAGED / f"{path}.yaml").is_file():
            path = packaged
        elif not path.suffix and not path.exists():
            meant = near(path.name, (each.stem for each in _PACKAGED.glob("*.yaml")))
            raise BadInput(f"no file {shorten(str(path))} is there, and no sweep of this name comes along{meant}")
        document = read_yaml(path, "the sweep")
        try:
            return cls.read(document, changes)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None

    def cells(self, source: Path | None = None) -> list[PlannedCell]:
        """The cells, in the order of the axes, each once.

        Args:
            source: the survey file, once it has been simulated; default the one that the sweep names.

        Raises:
            BadInput: a cell cannot be: its request is refused, or it asks for more data than there is.
        """
        names = list(Axes.model_fields)
        values = (getattr(self.axes, name) for name in names)
        cells = {
            cell.name: cell
            for point in product(*values)
            for cell in [self._cell(dict(zip(names, point, strict=True)), source)]
        }
        return list(cells.values())

    def workers_of(self, cell: PlannedCell) -> int | None:
        """Processes of this machine that a cell's ranks get; None where the executor decides."""
        here = cell.executor == "local" or (cell.executor == "dask" and "cluster" not in cell.request)
        return self.workers if here else None

    def runs(self, source: Path | None = None) -> Iterator[tuple[int, PlannedCell]]:
        """Every repeat of every cell: the first of all cells, then the second of all, and so on."""
        cells = self.cells(source)
        for repeat in range(1, self.repeats + 1):
            for cell in cells:
                yield repeat, cell

    def _cell(self, axes: dict[str, Any], source: Path | None) -> PlannedCell:
        each = samples_of_size(axes["partition_size"])
        there = None if self.survey is None or self.survey.samples is None else -(-self.survey.samples // each)
        if axes["data_size"] is not None:
            files = _files(axes["data_size"], axes["partition_size"])
        elif there is not None:
            files = there
        else:
            raise BadInput("axes.data_size says how much of a data set is read that the sweep does not simulate itself")
        if there is not None and files > there and not self.reuse:
            raise BadInput(
                f"data_size {axes['data_size']} needs {counted(files, 'partition')} of"
                f" {axes['partition_size']}, and the data set"
                f" holds {there}: set reuse: true, or ask for less"
            )
        ranks = axes["world_size"] or files
        if ranks > files and not self.reuse:
            raise BadInput(
                f"world_size {ranks} is more than the"
                f" {counted(files, 'partition that is', 'partitions that are')} read: set reuse: true"
            )
        prefix = axes["partition_size"] + ("" if axes["format"] == "pt" else f"-{axes['format']}")
        request = {
            **self.request,
            "file_limit": files,
            "batch_size": axes["batch_size"],
            "data_prefix": prefix,
            "engine": axes["engine"],
            "memory_mb": axes["memory_mb"],
        }
        if axes["executor"] != "dask" and "dask" in self.axes.executor:
            request.pop("cluster", None)  # which is of the cells on Dask alone
        if axes["access"] is not None:
            request["access"] = axes["access"]
        if axes["world_size"] is not None or (self.reuse and axes["data_size"] is not None):
            request["world_size"] = ranks
        survey = source or (self.survey and self.survey.source)
        if survey:
            wanted = {"size": axes["partition_size"], "format": axes["format"]}
            request["partition"] = {"source": str(survey), **wanted}
        name = f"filelimit-{files}_batchsize-{axes['batch_size']}_prefix-{prefix}" + "".join(
            f"_{label}-{axes[axis]}" for axis, label, usual in _REST if axes[axis] != usual
        )
        RunRequest.read({**request, "result_path": f"{self.results}/{name}/1"})
        return PlannedCell(name, axes, axes["executor"], request, ranks, max(files, ranks) * each)


_REST = (
    ("world_size", "worldsize", None),
    ("memory_mb", "memory", MEMORY_MB),
    ("engine", "engine", "onnxruntime"),
    ("executor", "executor", "local"),
    ("access", "access", None),
)


def _files(data_size: str, partition_size: str) -> int:
    """How many partitions hold so much data, as published runs counted them: 12.6 GB in 25 MB are 517."""
    return math.ceil(_megabytes(data_size) / _megabytes(partition_size))


def _megabytes(size: str) -> Decimal:
    return Decimal(size[:-2]) * (1024 if size.endswith("GB") else 1)
