"""Documents that people name on the command line, read whole only where they are as short as documents are."""

from pathlib import Path

from inference.contract.near import near_file
from inference.errors import BadInput

_MOST = 256 << 20  # bytes; the summary of 10,000 ranks has a tenth

_PART = 1 << 20  # bytes read at a time


def read_document(path: Path, what: str) -> bytes:
    """The bytes of a request, a sweep, a price book or another text, never more than documents have.

    Args:
        path: of the file; a pipe is read too.
        what: it is, for messages, as "the request".

    Raises:
        BadInput: it cannot be read, or is so long that something else was meant, such as a survey or a device.
    """
    try:
        with path.open("rb") as file:
            data = bytearray()  # in parts: to read up to so much at once would first ask for all that memory
            while len(data) <= _MOST and (part := file.read(_PART)):
                data += part
    except OSError as error:
        meant = near_file(path) if isinstance(error, FileNotFoundError) else ""
        raise BadInput(f"cannot read {what} {path}: {error.strerror}{meant}") from None
    if len(data) > _MOST:
        raise BadInput(f"{what} {path} is longer than {_MOST >> 20} MB: name the right file, this one holds data")
    return bytes(data)
