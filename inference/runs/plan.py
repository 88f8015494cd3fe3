"""Which rank reads which files: pure functions of a listing and a request."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from inference.contract.counted import counted
from inference.contract.object_keys import RESERVED, natural_order
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.contract.validation import sanitize_text
from inference.errors import BadInput
from inference.storage.store import Store, StoredObject

T = TypeVar("T")

SUFFIXES = (".pt", ".safetensors")
MAKING = ".cosmic"  # suffix of the folder beside a folder of partitions, in which these being made is noted
INCOMPLETE = "incomplete"  # lies in that folder from the first partition to the last


@dataclass(frozen=True)
class Model:
    """The weights of a run.

    Attributes:
        key: of the `.safetensors`, or of somebody's own `.onnx`, in the run's bucket.
        sha256: of its content.
        graph: key of the exported graph beside it, None for an engine that needs none and for an `.onnx`.
        graph_sha256: of the graph's content.
    """

    key: str
    sha256: str
    graph: str | None = None
    graph_sha256: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        events: one for each rank, in order.
        files: the partitions that are used, in order.
        notes: what a person should know about the choice.
    """

    events: tuple[RankEvent, ...]
    files: tuple[StoredObject, ...]
    notes: tuple[str, ...]

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self.events)

    @property
    def data_map(self) -> dict[str, str | list[str]]:
        """{rank: DATA_PATH}, as scripts of the replaced system read it in payload.json."""
        return {str(event.rank): event.to_wire()["DATA_PATH"] for event in self.events}


def check_complete(store: Store, bucket: str, prefix: str) -> None:
    """See that the partitions under a prefix are all made.

    Raises:
        BadInput: they are being made, or their making was interrupted.
        StoreError: the store refuses.
    """
    # What is about a bucket's root lies beside a local bucket, and S3 has no such place.
    place, making = (bucket, f"{prefix}{MAKING}/") if prefix else (f"{bucket}{MAKING}", "")
    if not prefix and not store.is_local:
        return
    if f"{making}{INCOMPLETE}" in {stored.key for stored in store.list(place, making.rstrip("/"))}:
        raise BadInput(
            f"the partitions in {bucket}/{prefix}/ are being made, or their making was interrupted: wait, or run the"
            " same `cosmic partition` or `cosmic ingest` again"
        )


def select_files(listing: Sequence[StoredObject], request: RunRequest) -> list[StoredObject]:
    """The partitions among the objects listed, in the request's order, at most `file_limit` of them.

    In a bucket's root these are the files there; models, results and partitions of another size lie in folders. Where
    it has none, those in its folders are taken, unless it is the bucket of the results.

    Raises:
        BadInput: there is none.
    """
    files = [stored for stored in listing if stored.key.endswith(SUFFIXES) and RESERVED not in stored.key.split("/")]
    if not request.data_prefix:
        own = [stored for stored in files if "/" not in stored.key]
        files = own or (files if request.bucket != request.data_bucket else [])
    if not files:
        raise BadInput(
            f"no partitions (.pt or .safetensors) under {place_of_data(request)}:"
            " make some with `cosmic partition`, or correct data_bucket and data_prefix"
        )
    if request.order == "lexicographic":
        files.sort(key=lambda stored: stored.key)
    else:
        files.sort(key=lambda stored: natural_order(stored.key))
    return files[: request.file_limit]


def place_of_data(request: RunRequest) -> str:
    """Where the partitions lie, as messages say it."""
    return f"{request.data_bucket}/{request.data_prefix}".rstrip("/") + "/"


def assign(files: Sequence[T], world_size: int) -> list[list[T]]:
    """Share files out among ranks: contiguously, each rank in turn taking ceil(files left / ranks left).

    With fewer files than ranks, rank r reads file r modulo the files (contract, "Rank assignment").

    >>> assign(["1.pt", "2.pt", "3.pt", "4.pt", "5.pt"], 3)
    [['1.pt', '2.pt'], ['3.pt', '4.pt'], ['5.pt']]
    >>> assign(["1.pt", "2.pt"], 3)
    [['1.pt'], ['2.pt'], ['1.pt']]
    """
    if len(files) < world_size:
        return [[files[rank % len(files)]] for rank in range(world_size)]
    shares: list[list[T]] = []
    start = 0
    for rank in range(world_size):
        count = -(-(len(files) - start) // (world_size - rank))
        shares.append(list(files[start : start + count]))
        start += count
    return shares


def fingerprint(files: Sequence[StoredObject], workload: Model | Script, request: RunRequest) -> str:
    """Hash of everything that a rank's redshifts depend on; a result made under another one is stale."""
    facts: dict[str, Any] = {
        "data": [[request.data_bucket, stored.key, stored.etag, stored.size] for stored in files],
        "batch_size": request.batch_size,
    }
    if isinstance(workload, Script):
        facts |= {"script": [workload.entry, workload.arguments, workload.sha256]}
        facts |= {"python": workload.python} if workload.python else {}
        facts |= {"script_environment": workload.requirements} if workload.requirements else {}
        facts |= {"script_image": workload.image} if workload.image else {}
    else:
        facts |= {"model": workload.sha256, "engine": request.engine, "precision": request.precision}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def world_size_of(request: RunRequest, files: Sequence[StoredObject]) -> int:
    """Ranks as asked; else one a file, or `file_limit` in the manner of the replaced system (contract, "Run request").

    Requests in that manner have a script, or name its order of files; ranks reuse files where there are fewer.
    """
    if request.world_size is not None:
        return request.world_size
    as_theirs = request.script is not None or request.order == "lexicographic"
    return request.file_limit if as_theirs else len(files)


def event_of(request: RunRequest, rank: int, world_size: int, data_paths: tuple[str, ...], **more: Any) -> RankEvent:
    """The event of a rank with all that it has from the request alone, and `more` of its other fields."""
    return RankEvent(
        rank=rank,
        world_size=world_size,
        bucket=request.bucket,
        result_bucket=request.bucket,
        data_bucket=request.data_bucket,
        data_prefix=request.data_prefix,
        data_paths=data_paths,
        result_path=request.result_path,
        batch_size=request.batch_size,
        **more,
    )


def make_plan(request: RunRequest, listing: Sequence[StoredObject], workload: Model | Script, store: str) -> Plan:
    """Assign the files listed to ranks.

    Args:
        request: the checked request.
        listing: every object under the request's data prefix.
        workload: the staged weights, or the staged script.
        store: root of the store, for the workers.

    Raises:
        BadInput: no partitions, or more ranks than there may be.
    """
    files = select_files(listing, request)
    world_size = world_size_of(request, files)
    notes, folder = [], request.data_prefix or request.data_bucket
    if request.file_limit > len(files):
        notes.append(
            f"file_limit is {request.file_limit} but {folder}/ holds {counted(len(files), 'partition')}: all are used"
        )
    ignored = len(listing) - sum(stored.key.endswith(SUFFIXES) for stored in listing)
    if ignored:
        verb = "is no partition and was" if ignored == 1 else "are no partitions and were"
        notes.append(f"{counted(ignored, 'object')} under {folder}/ {verb} ignored")
    if not request.data_prefix and (folders := _folders_of(files)):
        notes.append(f"data_prefix is empty, and partitions are read from the folders {sanitize_text(folders)[:200]}")
    if world_size > len(files):
        notes.append(
            f"{world_size} ranks reuse {counted(len(files), 'partition')} round robin: metrics count each object once"
        )
    model, script = (Model("", ""), workload) if isinstance(workload, Script) else (workload, None)
    events = tuple(
        event_of(
            request,
            rank,
            world_size,
            tuple(stored.key for stored in share),
            data_etags=tuple(stored.etag for stored in share),
            model=model.key,
            model_sha256=model.sha256,
            graph=model.graph,
            graph_sha256=model.graph_sha256,
            script=script,
            engine=request.engine,
            precision=request.precision,
            access=request.access,
            fingerprint=fingerprint(share, workload, request),
            store=store,
        )
        for rank, share in enumerate(assign(files, world_size))
    )
    return Plan(events=events, files=tuple(files), notes=tuple(notes))


def _folders_of(files: Sequence[StoredObject]) -> str:
    return ", ".join(dict.fromkeys(stored.key.rpartition("/")[0] for stored in files if "/" in stored.key))


def payload(request: RunRequest, plan: Plan, run_id: str) -> dict[str, Any]:
    """payload.json: the request as it came, the data map, and what the plan rests on."""
    first = plan.events[0]
    workload = {"model_key": first.model, "model_sha256": first.model_sha256}
    if first.script is not None:
        workload = {"script_sha256": first.script.sha256}
    return {
        **request.as_given(),
        "world_size": plan.world_size,
        "data_map": plan.data_map,
        "run_id": run_id,
        **workload,
        "fingerprints": {str(event.rank): event.fingerprint for event in plan.events},
        "data_etags": {stored.key: stored.etag for stored in plan.files},
        "notes": list(plan.notes),
    }


def events_of(document: Mapping[str, Any], request: RunRequest) -> list[RankEvent]:
    """The plan's rank events, from a run's payload.json; what only workers need is left out.

    Raises:
        BadInput: the document is no plan.
    """
    try:
        script = request.script_at(str(document.get("script_sha256", "")))
        fingerprints = document["fingerprints"]
        if not document["data_map"]:
            raise BadInput("the plan in payload.json is damaged: it has no rank")
        return [
            event_of(
                request,
                int(rank),
                len(fingerprints),
                (paths,) if isinstance(paths, str) else tuple(paths),
                model=document.get("model_key", ""),
                model_sha256=document.get("model_sha256", ""),
                script=script,
                fingerprint=fingerprints[rank],
            )
            for rank, paths in sorted(document["data_map"].items(), key=lambda item: int(item[0]))
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the plan in payload.json is damaged: {error!r}") from None


def read_payload(store: Store, bucket: str, result_path: str) -> dict[str, Any]:
    """What a run was planned to do, its payload.json.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    document = store.read_json(bucket, f"{result_path}/payload.json")
    if document is None:
        raise BadInput(f"there is no run under {bucket}/{result_path} in {store.root}: it has no payload.json")
    if not isinstance(document, dict):
        raise BadInput(f"{bucket}/{result_path}/payload.json is damaged: it is no JSON object")
    return document


def read_request(store: Store, bucket: str, result_path: str) -> RunRequest:
    """The request of a run, from its payload.json.

    Raises:
        BadInput: there is no payload.json, or it is damaged.
    """
    document = read_payload(store, bucket, result_path)
    try:
        return RunRequest.of_payload(document)
    except BadInput as error:
        raise BadInput(f"{bucket}/{result_path}/payload.json is damaged: {error}") from None
