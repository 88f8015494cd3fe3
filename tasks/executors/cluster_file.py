"""The `cluster` of a request: a scheduler that runs already, or a cluster that the run starts for itself."""

import importlib
import inspect
import math
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.contract.near import near_key
from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.executors.cluster_rules import check_arguments, check_growth
from tasks.input_files.yaml_text import read_yaml

# Dask's protocols; the host may be a name, an address or an IPv6 address in brackets.
_ADDRESS = re.compile(r"(tcp|tls|ucx|ucxx|ws|wss)://(\[[0-9a-fA-F:.%]+\]|[^\s/:@]+):\d{1,5}(/\S*)?")
_SSH = "distributed.deploy.ssh.SSHCluster"
_BASES = {"distributed.deploy.cluster.Cluster", "distributed.deploy.spec.SpecCluster"}
_NEEDS_DASK = "the dask executor needs Dask: pip install 'cosmic-flows[dask]'"


class Cluster(BaseModel):
    """Where ranks run with `--executor dask`.

    `cluster_class`, `cluster_kwargs` and `adapt_kwargs` mean what they mean in the cluster files of flint, a pipeline
    for radio telescopes (github.com/tjgalvin/flint), so that its files work here.

    Attributes:
        scheduler: address of a Dask scheduler that runs already, as `tcp://host:8786`; or
        cluster_class: a class of Dask that starts workers, as `dask_jobqueue.SLURMCluster`,
        cluster_kwargs: its arguments,
        adapt_kwargs: `minimum` and `maximum` (or `minimum_jobs`, `maximum_jobs`) of a cluster that grows and shrinks.
        usd_per_core_hour: what an allocated core costs, for the bill of the cluster.
        wait_for_workers: seconds that ranks wait for a first worker, or for another when all have ended.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str | None = None
    cluster_class: str | None = None
    cluster_kwargs: dict[str, Any] = Field(default_factory=dict)
    adapt_kwargs: dict[str, Any] = Field(default_factory=dict)
    usd_per_core_hour: Annotated[float, Field(ge=0, le=1e6, strict=True)] | None = None
    wait_for_workers: Annotated[float, Field(gt=0, le=7 * 86_400, strict=True)] = 3600.0

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.scheduler is None) == (self.cluster_class is None):
            raise BadInput("cluster: name either a scheduler or a cluster_class")
        if self.scheduler is not None and (self.cluster_kwargs or self.adapt_kwargs):
            raise BadInput("cluster: cluster_kwargs and adapt_kwargs go with a cluster_class, not with a scheduler")
        if self.scheduler is not None and not _ADDRESS.fullmatch(self.scheduler):
            raise BadInput(f"cluster: scheduler is written tcp://host:8786, not {shorten(self.scheduler, 120)}")
        return self

    @classmethod
    def read(cls, value: object) -> Self:
        """Check the `cluster` of a request: a mapping, an address, or the path of a YAML file.

        Raises:
            BadInput: one sentence naming the key that is unknown, missing or wrong, or the file that cannot be read.
        """
        if isinstance(value, str):
            return cls.read({"scheduler": value}) if "://" in value else cls._load(Path(value).expanduser())
        if not isinstance(value, Mapping):
            raise BadInput(f"cluster: it must be an object, an address or a file, not {shorten(value, 120)}")
        try:
            return cls.model_validate(dict(value))
        except ValidationError as error:
            first = error.errors()[0]
            if cause := first.get("ctx", {}).get("error"):
                raise BadInput(str(cause)) from None
            field = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                meant = near_key(cls, first["loc"])
                raise BadInput(f"cluster: unknown key {shorten(field, 80)}{meant}") from None
            raise BadInput(f"cluster: {field}: {first['msg'].lower()}, not {shorten(first['input'], 120)}") from None

    @classmethod
    def _load(cls, path: Path) -> Self:
        document = read_yaml(path, "the cluster file")
        if not isinstance(document, Mapping):
            raise BadInput(f"the cluster file {path} must hold keys and values, as cluster_class: ...")
        try:
            return cls.read(document)
        except BadInput as error:
            raise BadInput(f"the cluster file {path}: {error}") from None

    def imported(self) -> Any:
        """The class that starts workers.

        Raises:
            BadInput: it cannot be imported, or it is no cluster of Dask's.
        """
        try:
            from distributed.deploy.cluster import Cluster as DaskCluster
        except ImportError:
            raise BadInput(_NEEDS_DASK) from None
        module, _, name = str(self.cluster_class).rpartition(".")
        is_none = BadInput(f"cluster_class: {shorten(str(self.cluster_class), 120)} is no cluster of Dask's")
        if module.partition(".")[0] in {*sys.stdlib_module_names, "__main__"}:
            raise is_none  # before it is imported: some of Python's own modules do things then
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            package = module.partition(".")[0]
            way = "is its name right?"
            if isinstance(error, ModuleNotFoundError) and error.name == package:
                way = f"is its package here? `pip install {package.replace('_', '-')}` beside cosmic-flows"
            raise BadInput(
                f"cluster_class: there is no {shorten(str(self.cluster_class), 120)} here ({error}); {way}"
            ) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - its module runs, and may do anything
            raise BadInput(
                f"cluster_class: the module of {shorten(str(self.cluster_class), 120)} fails: {_one_line(error)}"
            ) from None
        if f"{getattr(found, '__module__', '')}.{getattr(found, '__name__', '')}" == _SSH:
            raise BadInput(
                "cluster_class: SSHCluster is no class but a function, and not tried here: start its workers with"
                " `dask ssh HOST HOST ...` and give the run their scheduler's address (cluster: tcp://HOST:8786)"
            )
        if not (inspect.isclass(found) and issubclass(found, DaskCluster)):
            raise is_none
        if f"{found.__module__}.{found.__name__}" in _BASES:
            raise BadInput(f"{is_none} that starts workers by itself: name one such as distributed.LocalCluster")
        return found

    @property
    def is_job_queue(self) -> bool:
        """Whether its workers are jobs of a batch system."""
        return any(each.__module__.startswith("dask_jobqueue") for each in self.imported().__mro__)

    def started(self, **more: Any) -> Any:
        """The cluster, its scheduler running and its first workers asked for.

        Args:
            more: arguments in place of the file's.

        Raises:
            BadInput: the class refuses its arguments, or its scheduler does not start.
        """
        make = self.imported()
        try:
            return make(**(self.cluster_kwargs | more))
        except Exception as error:  # noqa: BLE001 - whatever the class raises, the file is to be changed
            raise BadInput(f"cluster_kwargs: {self.cluster_class} refuses them: {_one_line(error)}") from None

    def check(self, *, submits: bool = False) -> None:
        """Look whether the cluster could be started, and start none of its workers.

        Args:
            submits: jobs are to be submitted from this machine, so that the batch system's command must be here.

        Raises:
            BadInput: the class does not exist, refuses its arguments, or would never have a worker.
        """
        make = self.imported()
        check_arguments(make, self.cluster_kwargs, grows=bool(self.adapt_kwargs))
        check_growth(make, self.adapt_kwargs)
        if self.is_job_queue:
            if not (self.adapt_kwargs or self.cluster_kwargs.get("n_workers") or self.cluster_kwargs.get("n_jobs")):
                raise BadInput(
                    "cluster: no job would start: set n_workers in cluster_kwargs, or maximum in adapt_kwargs"
                )
            self.job_script()
            command = str(make.job_cls.submit_command).split()[0]
            if submits and shutil.which(command) is None:
                raise BadInput(
                    f"cluster: {command} is not on this machine, so that no job of {make.__name__} can be submitted:"
                    " start the run where the batch system is, as on a login node"
                )
            return
        try:
            inspect.signature(make).bind(**self.cluster_kwargs)
        except TypeError as error:
            raise BadInput(f"cluster_kwargs: {self.cluster_class} refuses them: {error}") from None

    def job_script(self) -> str | None:
        """The script that would be submitted for each job of a batch system; None for another kind of cluster.

        Raises:
            BadInput: the class refuses its arguments.
        """
        if self.scheduler is not None or not self.is_job_queue:
            return None
        cluster = self.started(n_workers=0)
        try:
            return str(cluster.job_script())
        finally:
            cluster.close()

    @property
    def most_workers(self) -> int | None:
        """How many worker processes there may be at most; None where only the cluster knows."""
        each = int(self.cluster_kwargs.get("processes") or 1)
        if self.adapt_kwargs:
            if (jobs := self.adapt_kwargs.get("maximum_jobs")) is not None:
                return int(jobs) * each
            maximum = self.adapt_kwargs.get("maximum")
            return None if maximum in (None, math.inf) else int(maximum)
        wanted = self.cluster_kwargs.get("n_workers")
        return None if wanted is None else int(wanted)


def _one_line(error: BaseException) -> str:
    return shorten(" ".join(str(error).split()), 300)


def needs_dask() -> None:
    """Look whether Dask is installed.

    Raises:
        BadInput: it is not.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise BadInput(_NEEDS_DASK) from None
