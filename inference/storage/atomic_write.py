"""A local file or folder is written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inference.errors import StoreError
from inference.storage.temporary import partial_of, remove_abandoned


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a new file's path beside `path`; when the block ends well, that file takes the place of `path`.

    Its name is unique to the writer, so that any number of processes may write the same file: readers see one whole
    content or another, and the last writer's stays. A block that fails leaves nothing behind; what a killed process
    left, the next writer into the same folder removes.

    Args:
        path: the file; folders above it are made.
        durable: flush the content to the disk first, so that a power failure cannot leave an empty file under the
            name; without it for caches, which are verified when they are read.

    Raises:
        StoreError: the file cannot be written; names it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder, "a.txt")) as partial:
        ...         _ = partial.write_text("whole")
        ...     print(*os.listdir(folder), Path(folder, "a.txt").read_text())
        a.txt whole
    """
    partial = partial_of(path)
    remove_abandoned(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`; when the block ends well, it gets the name `path`.

    A block that fails leaves nothing behind.

    Args:
        path: the folder, which must not be there; folders above it are made.

    Raises:
        StoreError: the folder cannot be written, or is there; names it.
    """
    partial = partial_of(path)
    remove_abandoned(path.parent)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
