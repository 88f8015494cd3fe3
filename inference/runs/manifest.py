"""What was staged in a bucket: the content hash of each object, and the ETag under which the store holds it.

A manifest, `.cosmic/staged/<key>.json`, is {key: {sha256, etag, size}}. An object counts as unchanged while the file
has that hash and the object that ETag, so that a change on either side is noticed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from inference.contract.json_text import parse_json
from inference.errors import BadInput, StoreError
from inference.storage.store import Store


@dataclass(frozen=True)
class Noted:
    """What a manifest knows of an object; the ETag is "" while it is being uploaded."""

    sha256: str
    etag: str
    size: int


def manifest_key(folder_key: str) -> str:
    """Key of the manifest of what was staged under `folder_key`, a folder or one object."""
    return f".cosmic/staged/{folder_key}.json"


def write_manifest(store: Store, bucket: str, folder_key: str, noted: Mapping[str, Noted]) -> None:
    """Replace the manifest.

    Raises:
        StoreError: the store refuses.
    """
    document = {key: asdict(note) for key, note in sorted(noted.items())}
    store.write(bucket, manifest_key(folder_key), json.dumps(document, indent=1).encode())


def read_manifest(store: Store, bucket: str, folder_key: str) -> dict[str, Noted]:
    """The manifest's entries; none where there is no manifest, or where it is damaged.

    Raises:
        StoreError: the store refuses.
    """
    if store.head(bucket, manifest_key(folder_key)) is None:
        return {}
    return parse_manifest(store.read(bucket, manifest_key(folder_key)), folder_key)


def parse_manifest(data: bytes, folder_key: str) -> dict[str, Noted]:
    """What a manifest says of objects under `folder_key`; whatever else it says is ignored."""
    try:
        document = parse_json(data, "the manifest")
    except BadInput:
        return {}
    if not isinstance(document, dict):
        return {}
    found = {}
    for key, note in document.items():
        match note:
            case {"sha256": str(sha256), "etag": str(etag), "size": int(size)}:
                if key == folder_key or key.startswith(f"{folder_key}/"):
                    found[key] = Noted(sha256, etag, size)
    return found


def note_object(store: Store, bucket: str, key: str, sha256: str) -> None:
    """Note the content of one staged object, as it lies in the store now.

    Raises:
        StoreError: the object is gone, or the store refuses.
    """
    stored = store.head(bucket, key)
    if stored is None:
        raise StoreError(f"{bucket}/{key} is gone a moment after it was staged")
    write_manifest(store, bucket, key, {key: Noted(sha256, stored.etag, stored.size)})
