"""What a command writes, held while it is made: of two commands with one output, the second is refused at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.errors import BadInput
from inference.storage.lease import HeldLease, lease_beside
from inference.storage.store import Store
from inference.storage.writable import check_writable


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written, before there is anything to write.

    Raises:
        BadInput: it is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise BadInput(f"--to is the folder {path}: name a file in it")
    check_writable(Store(path.expanduser().parent.resolve()))


@contextmanager
def held_output(path: Path, command: str) -> Iterator[HeldLease]:
    """Hold a file or folder that a command makes, with all that it writes beside it.

    Args:
        path: the output.
        command: its name, for the message to another one.

    Yields:
        The lease; `check` it before writing, after long work: this process may have slept.

    Raises:
        BadInput: the folder cannot be written.
        LeaseHeldError: another command makes it; nothing was written.
    """
    folder = path.expanduser().parent.resolve()  # the name itself may be a link, which the command replaces
    check_writable(Store(folder))
    with lease_beside(folder / path.name, f"cosmic {command}", str(path)).keep(temporary=True) as held:
        yield held
