"""The run request: the state machine's input JSON (contract, "Run request"), checked at the door."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from inference.errors import BadInput
from inference.events import MAX_BATCH_SIZE, MAX_RANKS, checked_int
from inference.keys import checked_bucket, checked_key

# Keys of the contract's later parts: known by name, so that nobody takes the refusal for a spelling mistake.
NOT_YET = {
    "script": "running a staged script",
    "S3_object_name": "running a staged script",
    "object_type": "running a staged script",
    "script_source": "running a staged script",
    "exec_args": "running a staged script",
    "access": "choosing the data access",
    "hedging": "hedging",
    "tolerated_failure_percentage": "tolerating failed ranks",
    "tolerated_failure_count": "tolerating failed ranks",
    "run_timeout": "a time limit for the run",
    "function_name": "the lambda executor",
    "state_machine_arn": "the step-functions executor",
}


def _whole(low: int, high: int) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> int:
        return checked_int(value, str(info.field_name), low, high)

    return BeforeValidator(check, json_schema_input_type=int | str)


def _key(value: str, info: ValidationInfo) -> str:
    return checked_key(value, str(info.field_name))


def _bucket(value: str, info: ValidationInfo) -> str:
    return checked_bucket(value, str(info.field_name))


Key = Annotated[str, AfterValidator(_key)]
Bucket = Annotated[str, AfterValidator(_bucket)]
Count = Annotated[int, _whole(1, MAX_RANKS)]


class PartitionRequest(BaseModel):
    """Partitions to make before the run.

    Attributes:
        source: a survey file (`.pt` or `.safetensors`) on the machine that runs the flow.
        size: of a partition, as "25MB" or as a number of samples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    size: str | int


class RunRequest(BaseModel):
    """One run, as a person writes it down.

    Attributes:
        bucket: holds models and results.
        file_limit: at most so many partitions are used, in `order`.
        batch_size: samples a batch.
        result_path: folder in `bucket` under which everything that the run writes lies.
        data_bucket, data_prefix: the folder of the partitions.
        world_size: ranks; default min(file_limit, files there are). More ranks than files reuse files round robin.
        order: of the files: `natural` (2 before 10) or `lexicographic` (as the replaced system listed them).
        model: weights, as a key in `bucket` or a file; default the demo weights that come with this project.
        engine, precision: how redshifts are computed.
        partition: make the partitions first.
        max_concurrency: ranks in flight at most.
        ranks_per_task: ranks that one Prefect task run runs; default 1 up to 256 ranks.
        rank_timeout: seconds after which a rank is stopped and counts as failed.
        memory_mb, architecture, region: of the Lambda function, for the bill.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, title="cosmic-flows run request")

    bucket: Bucket
    file_limit: Count
    batch_size: Annotated[int, _whole(1, MAX_BATCH_SIZE)]
    result_path: Key
    data_bucket: Bucket
    data_prefix: Key
    world_size: Count | None = None
    order: Literal["natural", "lexicographic"] = "natural"
    model: str | None = None
    engine: Literal["onnxruntime", "torch"] = "onnxruntime"
    precision: Literal["float32"] = "float32"
    partition: PartitionRequest | None = None
    max_concurrency: Annotated[int, _whole(1, 10_000)] | None = None
    ranks_per_task: Count | None = None
    rank_timeout: Annotated[float, Field(gt=0, le=900)] = 900.0
    memory_mb: Annotated[int, _whole(128, 10_240)] = 10_240
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    region: str = "us-east-1"

    @model_validator(mode="after")
    def _results_apart_from_data(self) -> Self:
        """A run removes stale results and takes every partition under its prefix: neither may reach the other."""
        results, data = f"{self.result_path}/", f"{self.data_prefix}/"
        if self.bucket == self.data_bucket and (results.startswith(data) or data.startswith(results)):
            raise BadInput(f"result_path {self.result_path!r} and data_prefix {self.data_prefix!r} lie in one another")
        return self

    @classmethod
    def read(cls, document: object) -> "RunRequest":
        """Check a request that has been parsed from JSON.

        Raises:
            BadInput: one sentence naming the first key that is unknown, missing or wrong.
        """
        if not isinstance(document, Mapping):
            raise BadInput("the request must be a JSON object")
        for key, what in NOT_YET.items():
            if key in document:
                raise BadInput(
                    f"{key}: {what} is not part of this version yet; leave it out"
                    + (
                        " (without script, S3_object_name and object_type the built-in engine runs)"
                        if "script" in what
                        else ""
                    )
                )
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            raise BadInput(_sentence(error)) from None

    @classmethod
    def load(cls, path: Path) -> "RunRequest":
        """Read a request file.

        Raises:
            BadInput: naming the file: it cannot be read, is no JSON, or `read` refuses it.
        """
        try:
            document = json.loads(path.read_bytes(), parse_constant=_no_constant)
        except OSError as error:
            raise BadInput(f"cannot read the request {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise BadInput(f"the request {path} is not JSON: {error}") from None
        return cls.read(document)

    def document(self) -> dict[str, Any]:
        """The request as JSON, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key in the request: {field!r:.80}"
    if first["type"] == "missing":
        return f"the request lacks {field}"
    cause = first.get("ctx", {}).get("error")
    if cause is not None:
        return str(cause)
    return f"{field}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r:.60}"


def json_schema() -> str:
    """The request's JSON schema, as committed in docs/request.schema.json."""
    return json.dumps(RunRequest.model_json_schema(), indent=2) + "\n"
