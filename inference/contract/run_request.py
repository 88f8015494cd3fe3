"""The run request: the state machine's input JSON (contract, "Run request"), checked before anything else is done."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from inference.contract.documents import read_document
from inference.contract.json_text import parse_json
from inference.contract.messages import TIMEOUT_S, checked_way
from inference.contract.near import near_key
from inference.contract.object_keys import RESERVED, checked_bucket, checked_key, checked_prefix
from inference.contract.rank_event import MAX_BATCH_SIZE, MAX_RANKS
from inference.contract.script import Script
from inference.contract.validation import checked_int, shorten
from inference.errors import BadInput

MEMORY_MB = 10_240  # of a function: the default of the replaced system (contract, "Rank event"), and Lambda's largest
STACK = "cosmic-flows"  # whose functions are called as in the contract; another's names begin with its own
STACK_NAME = r"^[A-Za-z][A-Za-z0-9-]{0,39}$"  # a function's name ends at 64 characters
# Names as Lambda and Step Functions take them, alone or as an ARN.
FUNCTION = r"^(arn:aws[\w-]*:lambda:[\w-]+:\d{12}:function:)?[\w-]{1,64}(:[\w$-]+)?$"
STATE_MACHINE = r"^arn:aws[\w-]*:states:[\w-]+:\d{12}:stateMachine:[\w+=,.@-]{1,80}(:[\w-]+)?$"


def name_prefix(stack: str) -> str:
    """What stands before the names of a stack's functions and state machine.

    >>> name_prefix("cosmic-flows"), name_prefix("second")
    ('', 'second-')
    """
    return "" if stack == STACK else f"{stack}-"


def _whole(low: int, high: int) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> int:
        return checked_int(value, str(info.field_name), low, high)

    return BeforeValidator(check, json_schema_input_type=int | str)


def _key(value: str, info: ValidationInfo) -> str:
    return checked_key(value, str(info.field_name))


def _prefix(value: str, info: ValidationInfo) -> str:
    return checked_prefix(value, str(info.field_name))


def _bucket(value: str, info: ValidationInfo) -> str:
    return checked_bucket(value, str(info.field_name))


def _text(value: str, info: ValidationInfo) -> str:
    if any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value):
        raise BadInput(f"{info.field_name} holds a NUL or half a character, which no file and no program takes")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", value):
        raise BadInput(f"region is written us-east-1, not {shorten(value)}")
    return value


def _way(value: str) -> str:
    return checked_way(value)


Key = Annotated[str, AfterValidator(_key)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Bucket = Annotated[str, AfterValidator(_bucket)]
Text = Annotated[str, AfterValidator(_text)]
Count = Annotated[int, _whole(1, MAX_RANKS)]


class PartitionRequest(BaseModel):
    """Partitions to make before the run.

    Attributes:
        source: a survey file (`.pt` or `.safetensors`) on the machine that runs the flow.
        size: of a partition, as "25MB" or as a number of samples.
        format: of the partition files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Text
    size: str | int
    format: Literal["pt", "safetensors"] = "pt"


class RunRequest(BaseModel):
    """One run, as a person writes it down.

    Attributes:
        bucket: holds models and results.
        file_limit: at most so many partitions are used, in `order`.
        batch_size: samples a batch.
        result_path: folder in `bucket` under which everything that the run writes lies.
        data_bucket, data_prefix: the folder of the partitions; "" is the bucket's root, without its folders.
        world_size: ranks; default min(file_limit, files there are), and file_limit itself with `script` or a
            lexicographic order, as in the replaced system. More ranks than files reuse files round robin.
        order: of the files: `natural` (2 before 10) or `lexicographic` (as the replaced system listed them).
        model: weights, as a key in `bucket` or a file; default the demo weights that come with this project.
        engine: computes redshifts: `onnxruntime` on CPUs, `torch` on a GPU where there is one.
        precision: of the arithmetic; `int8` is onnxruntime's, `tf32` (on a GPU) and `bf16` are the torch engine's;
            all three report their error.
        access: how a rank reads its partitions: `download` whole first, `stream`, or `memory-map` a file; default by
            the store. It changes no redshift, so it is not part of the fingerprint.
        take_other_pixels: run although the partitions' pixel scale, bands or units are not the model's.
        partition: make the partitions first.
        max_concurrency: ranks in flight at most.
        ranks_per_task: ranks that one Prefect task run runs; default 1 up to 256 ranks.
        rank_timeout: seconds after which a rank is stopped and counts as failed.
        run_timeout: seconds after which the run stops; what is done by then is kept.
        hedging: late ranks get backups, which are billed; default yes on Lambda, no on local workers and for scripts. A
            state machine calls its ranks itself and makes none.
        tolerated_failure_percentage, tolerated_failure_count: of the ranks, how many may fail. Up to there the run is
            well though not whole; beyond it stops at once. Without either, all ranks are tried and none may be missing.
        memory_mb, architecture, region: of the Lambda function, for the bill.
        max_cost: USD; a run whose predicted bill (90th percentile) is higher is refused before it starts.
        script, S3_object_name, object_type, exec_args: a script to run in place of the built-in engine, its folder (or
            only file) in the bucket, "folder" or "file", and its arguments (contract, "Run request").
        script_source: a folder (or file) on the machine that runs the flow, to be staged as S3_object_name first.
        python: interpreter of the script on the workers, a name or an absolute path; default the workers' own.
        script_environment: the script's own packages: a requirements file, on the machine that runs the flow or in the
            script's folder, which is installed once on each machine where ranks run; or a container image with its tag
            or digest, whose Python runs the script.
        messages: ranks of the script send messages to one another (`fmi`), so that they run all at once: `tcp` where
            they reach one another, `store`, or a Redis server's URL.
        message_timeout: seconds after which a rank that does not come, or sends nothing, is missing.
        stack_name: the stack whose function and state machine run the ranks (`cosmic deploy --stack-name`).
        function_name: of the executor's Lambda function; default the stack's.
        state_machine_arn: of the state machine; default the stack's.
        cluster: where the dask executor finds its workers: the address of a scheduler, a cluster file, or what such a
            file says (docs/clusters.md); default processes of this machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, title="cosmic-flows run request")

    bucket: Bucket
    file_limit: Count
    batch_size: Annotated[int, _whole(1, MAX_BATCH_SIZE)]
    result_path: Key
    data_bucket: Bucket
    data_prefix: Prefix
    world_size: Count | None = None
    order: Literal["natural", "lexicographic"] = "natural"
    model: Text | None = None
    engine: Literal["onnxruntime", "torch"] = "onnxruntime"
    precision: Literal["float32", "int8", "tf32", "bf16"] = "float32"
    access: Literal["download", "stream", "memory-map"] | None = None
    take_other_pixels: bool = False
    partition: PartitionRequest | None = None
    max_concurrency: Annotated[int, _whole(1, 10_000)] | None = None
    ranks_per_task: Count | None = None
    rank_timeout: Annotated[float, Field(gt=0, le=900)] = 900.0
    run_timeout: Annotated[float, Field(gt=0, le=7 * 86_400)] | None = None
    hedging: bool | None = None
    tolerated_failure_percentage: Annotated[float, Field(ge=0, le=100)] | None = None
    tolerated_failure_count: Annotated[int, _whole(0, MAX_RANKS)] | None = None
    memory_mb: Annotated[int, _whole(128, MEMORY_MB)] = MEMORY_MB
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    region: Annotated[str, AfterValidator(_region)] = "us-east-1"
    max_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    script: str | None = None
    S3_object_name: Key | None = None
    object_type: Literal["folder", "file"] = "folder"
    exec_args: Text = ""
    script_source: Text | None = None
    python: Text = ""
    script_environment: Text = ""
    messages: Annotated[str, AfterValidator(_way)] | None = None
    message_timeout: Annotated[float, Field(gt=0, le=900)] = TIMEOUT_S
    stack_name: Annotated[str, Field(pattern=STACK_NAME)] = STACK
    function_name: Annotated[str, Field(pattern=FUNCTION)] = "cosmic-executor"
    state_machine_arn: Annotated[str, Field(pattern=STATE_MACHINE)] | None = None
    cluster: Text | dict[str, Any] | None = None
    _given: dict[str, Any] = PrivateAttr(default_factory=dict)  # the document that `read` checked

    @model_validator(mode="before")
    @classmethod
    def _function_of_the_stack(cls, document: Any) -> Any:
        stack = document.get("stack_name", STACK) if isinstance(document, Mapping) else STACK
        if stack != STACK and "function_name" not in document:
            return {**document, "function_name": f"{name_prefix(str(stack))}cosmic-executor"}
        return document

    @model_validator(mode="after")
    def _results_apart_from_data(self) -> Self:
        """A run removes stale results and takes every partition under its prefix: neither may reach the other."""
        for name in ("result_path", "data_prefix", "S3_object_name"):
            if RESERVED in (getattr(self, name) or "").split("/"):
                raise BadInput(
                    f"{name} must not go through a folder called {RESERVED}: leases and staged files lie there"
                )
        results, data = f"{self.result_path}/", f"{self.data_prefix}/"
        if self.partition is not None and not self.data_prefix:
            raise BadInput(
                "data_prefix is empty, and partitions are made in a folder: name one, or leave out partition"
            )
        if self.bucket == self.data_bucket and (results.startswith(data) or data.startswith(results)):
            raise BadInput(f"result_path {self.result_path!r} and data_prefix {self.data_prefix!r} lie in one another")
        return self

    @model_validator(mode="after")
    def _either_model_or_script(self) -> Self:
        if self.script is None:
            for name in ("S3_object_name", "script_source", "exec_args", "python", "script_environment", "messages"):
                if getattr(self, name):
                    raise BadInput(f"{name} goes with script, which the request lacks")
        elif self.S3_object_name is None:
            raise BadInput("script needs S3_object_name, the folder in the bucket that holds it")
        elif self.hedging:
            raise BadInput(
                "hedging: a script may overwrite the result of its faster copy; backups need the built-in engine"
            )
        elif self.model is not None:
            raise BadInput("the request has both script and model: one of them is run")
        elif self.python and self.script_environment:
            raise BadInput("the request has both python and script_environment: each names the script's interpreter")
        else:
            self.script_at("")
            if self.result_path == self.S3_object_name or self.result_path.startswith(f"{self.S3_object_name}/"):
                raise BadInput(f"result_path {self.result_path!r} lies in S3_object_name; results would change it")
        return self

    @model_validator(mode="after")
    def _precision_of_the_engine(self) -> Self:
        if self.precision not in PRECISIONS[self.engine]:
            able = next(engine for engine, known in PRECISIONS.items() if self.precision in known)
            raise BadInput(f"precision {self.precision} needs engine {able}")
        if self.precision != "float32" and self.script is not None:
            raise BadInput(f"precision {self.precision} is the built-in engine's, and a script takes its place")
        return self

    def script_at(self, sha256: str) -> Script | None:
        """The script that is run in place of the built-in engine, its staged content being `sha256`.

        Raises:
            BadInput: the script does not lie in S3_object_name.
        """
        if self.script is None or self.S3_object_name is None:
            return None
        named = (self.S3_object_name, self.script, self.object_type, self.exec_args)
        return Script.checked(*named, sha256, self.python)

    @classmethod
    def read(cls, document: object) -> "RunRequest":
        """Check a request that has been parsed from JSON.

        Raises:
            BadInput: one sentence naming the first key that is unknown, missing or wrong.
        """
        if not isinstance(document, Mapping):
            raise BadInput("the request must be a JSON object")
        try:
            request = cls.model_validate(dict(document))
        except ValidationError as error:
            raise BadInput(_sentence(error)) from None
        request._given = dict(document)
        return request

    @classmethod
    def of_payload(cls, document: object) -> "RunRequest":
        """The request of a run, from its payload.json.

        Raises:
            BadInput: the document is damaged.
        """
        if not isinstance(document, Mapping):
            raise BadInput("payload.json is no JSON object")
        return cls.read({name: document[name] for name in cls.model_fields if name in document})

    @classmethod
    def load(cls, path: Path) -> "RunRequest":
        """Read a request file.

        Raises:
            BadInput: naming the file: it cannot be read, is no JSON, or `read` refuses it.
        """
        data = read_document(path, "the request")
        try:
            return cls.read(parse_json(data, "the file"))
        except BadInput as error:
            raise BadInput(f"the request {path}: {error}") from None

    def document(self) -> dict[str, Any]:
        """The request as JSON, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def __eq__(self, other: object) -> bool:
        """Two requests are equal if they ask for the same, however they were written."""
        return isinstance(other, RunRequest) and self.document() == other.document()

    def as_given(self) -> dict[str, Any]:
        """The request as it was written: a key that says the default stays, and so does a number in quotes.

        What has been changed since (`model_copy`) has its new value. Scripts of the replaced system read this document
        (contract, "Run request").

        >>> written = {"bucket": "b-1", "file_limit": "2", "batch_size": 8, "result_path": "r", "data_bucket": "b-1"}
        >>> request = RunRequest.read(written | {"data_prefix": "data", "object_type": "folder"})
        >>> request.as_given()["file_limit"], request.as_given()["object_type"], "object_type" in request.document()
        ('2', 'folder', False)
        """
        if not self._given:
            return self.document()
        read = type(self).model_validate(self._given)
        kept = {name: value for name, value in self._given.items() if getattr(read, name) == getattr(self, name)}
        return self.document() | kept


def _sentence(error: ValidationError) -> str:
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key in the request: {shorten(field, 80)}{near_key(RunRequest, first['loc'])}"
    if first["type"] == "missing":
        return f"the request lacks {field}"
    cause = first.get("ctx", {}).get("error")
    if cause is not None:
        return str(cause)
    return f"{field}: {first['msg'][0].lower()}{first['msg'][1:]}, not {shorten(first['input'])}"


def json_schema() -> str:
    """The request's JSON schema, as committed in docs/request.schema.json."""
    return json.dumps(RunRequest.model_json_schema(), indent=2) + "\n"


ENGINES = ("onnxruntime", "torch")
PRECISIONS = {"onnxruntime": ("float32", "int8"), "torch": ("float32", "tf32", "bf16")}
