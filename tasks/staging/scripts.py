"""Staging a script folder: what has changed is uploaded, and what was staged from here before and is gone is removed.

A manifest in the bucket notes what was staged (`inference.runs.manifest`).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from inference.contract.object_keys import checked_key
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.model.checkpoint import content_hash
from inference.runs.manifest import Noted, read_manifest, write_manifest
from inference.runs.staged import staged
from inference.scripts.run_script import script_hash
from inference.storage.store import Store, StoredObject
from tasks.reporting.terminal import bar

LEFT_OUT = {".git", "__pycache__", ".DS_Store"}
_UPLOADERS = 8
_BAR_AFTER_S = 2.0


@dataclass(frozen=True)
class Staged:
    """What staging did.

    Attributes:
        sha256: of the folder's listing as it lies in the bucket now (`inference.scripts.run_script.script_hash`).
        uploaded, unchanged, removed: files.
        bytes: uploaded.
    """

    sha256: str
    uploaded: int
    unchanged: int
    removed: int
    bytes: int


def look_at_folder(source: Path, folder_key: str) -> dict[str, Path]:
    """The files that staging would put into the bucket, by key; nothing is written.

    `.git`, `__pycache__`, `.DS_Store` and `*.pyc` are left out; a link to a file inside the folder is that file.

    Args:
        source: a folder, or one file.
        folder_key: key under which it is staged, or the file's own.

    Raises:
        BadInput: there is no such folder, or no file in it; a name makes no key; a link leads out or to a folder.
    """
    try:
        if source.is_file():
            return {checked_key(folder_key, "S3_object_name"): source}
        if not source.is_dir():
            raise BadInput(f"script_source: there is no folder {source}")
        files = dict(_files(source, source.resolve(), folder_key))
    except (OSError, ValueError, RuntimeError) as error:
        what, why = getattr(error, "filename", None) or source, getattr(error, "strerror", None) or error
        raise BadInput(f"script_source: cannot read {what}: {why}") from None
    if not files:
        raise BadInput(f"script_source: the folder {source} holds no files")
    return files


def _files(folder: Path, root: Path, key: str) -> Iterable[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.suffix == ".pyc":
            continue
        path_key = checked_key(f"{key}/{path.name}", "script_source: a file's key")
        if path.is_symlink():
            target = path.resolve()
            if root not in target.parents or not target.is_file():
                raise BadInput(f"script_source: the link {path} does not lead to a file inside the folder")
        if path.is_dir():
            yield from _files(path, root, path_key)
        elif path.is_file():
            path.open("rb").close()
            yield path_key, path
        else:
            raise BadInput(f"script_source: {path} is neither a file nor a folder")


def stage_folder(store: Store, bucket: str, folder_key: str, source: Path) -> Staged:
    """Make the folder in the bucket what it is here; objects that were not staged from a folder are left alone.

    Args:
        store: the object store.
        bucket: the run's bucket.
        folder_key: key under which the folder is staged, or of the one file.
        source: the folder, or the file.

    Raises:
        BadInput: see `look_at_folder`; raised before anything is written.
        StoreError: the store refused.
    """
    files = look_at_folder(source, folder_key)
    here = {key: content_hash(path) for key, path in files.items()}
    noted = read_manifest(store, bucket, folder_key)
    is_file = folder_key in files
    there = _listing(store, bucket, folder_key, is_file)

    def is_ours(key: str, etags: tuple[str, ...]) -> bool:
        return key in noted and key in there and noted[key].etag in etags

    changed = [key for key in files if not (is_ours(key, (_etag(there, key),)) and noted[key].sha256 == here[key])]
    gone = [key for key in noted if key not in files and is_ours(key, ("", _etag(there, key)))]
    sizes = {key: files[key].stat().st_size for key in files}
    if changed or gone:
        begun = noted | {key: Noted(here[key], "", sizes[key]) for key in changed}
        write_manifest(store, bucket, folder_key, begun)  # an interrupted upload is still known to be ours
        _upload(lambda key: store.write(bucket, key, files[key]), changed)
        store.delete(bucket, gone)
        there = _listing(store, bucket, folder_key, is_file)
        ended = {key: Noted(here[key], _etag(there, key), sizes[key]) for key in files}
        write_manifest(store, bucket, folder_key, ended)
    return Staged(
        sha256=script_hash(list(there.values())),
        uploaded=len(changed),
        unchanged=len(files) - len(changed),
        removed=len(gone),
        bytes=sum(sizes[key] for key in changed),
    )


def _etag(there: Mapping[str, StoredObject], key: str) -> str:
    return there[key].etag if key in there else ""


def _listing(store: Store, bucket: str, folder_key: str, is_file: bool) -> dict[str, StoredObject]:
    if is_file:
        file = store.head(bucket, folder_key)
        return {} if file is None else {folder_key: file}
    return {stored.key: stored for stored in store.list(bucket, folder_key)}


def _upload(put: Callable[[str], None], keys: list[str]) -> None:
    started = time.monotonic()
    with ExitStack() as later, ThreadPoolExecutor(_UPLOADERS) as uploaders:
        show: Callable[[int], None] | None = None
        for done, upload in enumerate(as_completed([uploaders.submit(put, key) for key in keys]), 1):
            upload.result()
            if show is None and time.monotonic() - started > _BAR_AFTER_S:
                show = later.enter_context(bar("staging scripts", len(keys)))
            if show is not None:
                show(done)


def find_script(request: RunRequest, store: Store) -> Path | None:
    """See that the request's script is there, or its source to be staged; return that source.

    Raises:
        BadInput: it is not, or the script is not in it.
    """
    if request.script_source is None:
        staged(store, request)
        return None
    source = Path(request.script_source).expanduser()
    script = request.script_at("")
    assert script is not None and request.S3_object_name is not None  # noqa: S101 - the request's own check
    keys = look_at_folder(source, request.S3_object_name)
    if script.key not in keys:
        raise BadInput(f"script: {request.script} is not in script_source {source}")
    return source
