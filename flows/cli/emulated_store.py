"""What goes into the emulator's S3 before a command and what is kept of it afterwards."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference.contract.object_keys import RESERVED, checked_bucket, checked_key
from inference.errors import CosmicError, StoreError
from inference.storage.store import S3_ROOT, Store
from tasks.reporting.terminal import bar

_TEXT_LIMIT = 1 << 20  # bytes; requests and sweeps are small

Objects = Mapping[tuple[str, str], str]
"""The ETag of each object, by bucket and key."""


def buckets_of(folder: Path) -> list[str]:
    """The buckets of a local store.

    Raises:
        BadInput: a folder in it has a name that no bucket can have.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [checked_bucket(name, f"--with: the folder {folder / name}") for name in names]


def needed(buckets: Sequence[str], command: Sequence[str]) -> list[str]:
    """The buckets that a command names in its words or in a file that they name; all where it names none."""
    text = "\n".join([*command, *(_text(Path(word)) for word in command)])
    named = [bucket for bucket in buckets if re.search(rf"(?<![\w.-]){re.escape(bucket)}(?![\w-])", text)]
    return named or list(buckets)


def _text(path: Path) -> str:
    try:
        if path.is_file() and path.stat().st_size <= _TEXT_LIMIT:
            return path.read_text(errors="replace")
    except (OSError, ValueError):  # a word that can be no path
        pass
    return ""


def upload(folder: Path, buckets: Sequence[str]) -> None:
    """Make buckets of a local store on S3 and put their objects there.

    What this project keeps for itself stays behind: leases, which are of processes that know nothing of the copy, and
    notes of ETags that the copy does not have. Objects that are gone by the time of their turn are left out.
    """
    from tasks.aws.session import client

    source, target, s3 = Store(folder), Store(S3_ROOT), client("s3")
    objects = [(bucket, stored) for bucket in buckets for stored in source.list(bucket, "") if _is_copied(stored.key)]
    for bucket in buckets:
        s3.create_bucket(Bucket=bucket)
    with bar("uploading", len(objects)) as show:
        for done, (bucket, stored) in enumerate(objects, 1):
            path = source.local_path(bucket, stored.key)
            assert path is not None  # noqa: S101 - the source is a folder
            try:
                target.write(bucket, stored.key, path)
            except StoreError:
                if path.exists():
                    raise
            show(done)


def objects_on_s3() -> Objects:
    """All objects that a run reads or writes; the code of functions is none.

    Keys are as S3 has them, which may be no path: the store lists nothing of a bucket with such a one.
    """
    from tasks.aws.session import client

    s3 = client("s3")
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return {
        (name, stored["Key"]): stored["ETag"]
        for name in names
        if not name.startswith("cosmic-flows-code-")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        for stored in page.get("Contents", [])
        if _is_copied(stored["Key"]) and not stored["Key"].endswith("/")
    }


def written_since(before: Objects) -> list[tuple[str, str]]:
    """Bucket and key of each object that was made or changed since."""
    return [each for each, etag in objects_on_s3().items() if before.get(each) != etag]


def keep(made: Sequence[tuple[str, str]], folder: Path) -> None:
    """Copy objects into a local store; what cannot be copied keeps nothing else back.

    Args:
        made: bucket and key of each.
        folder: the local store.

    Raises:
        StoreError: some could not be copied; all others were.
    """
    source, target = Store(S3_ROOT), Store(folder)
    left: list[str] = []
    with bar("keeping", len(made)) as show:
        for done, (bucket, key) in enumerate(made, 1):
            try:
                checked_key(key, f"the key in {bucket}")
                (folder / bucket).mkdir(parents=True, exist_ok=True)
                target.write(bucket, key, source.read(bucket, key))
            except (CosmicError, OSError) as error:
                left.append(str(error))
            show(done)
    if left:
        raise StoreError(
            f"--keep: {len(left):,} of {len(made):,} objects could not be kept in {folder}, the first because {left[0]}"
        )


def _is_copied(key: str) -> bool:
    """Whether an object is no lease and no note; the mark of incomplete partitions is copied with these."""
    from inference.runs.plan import INCOMPLETE

    *folders, name = key.split("/")
    return name == INCOMPLETE or not any(folder.endswith(RESERVED) for folder in folders)
