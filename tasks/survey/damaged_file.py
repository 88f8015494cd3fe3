"""What is said of a file that is none of those that are read, or whose reader fails: what it is, and what to do."""

from pathlib import Path

from inference.contract.validation import sanitize_text
from inference.errors import BadInput

_FORMS = {
    b"PAR1": "Parquet",
    b"ARROW1": "Feather",
    b"FEA1": "Feather",
    b"\xff\xff\xff\xff": "a stream of Arrow",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"SIMPLE  =": "FITS",
    b"\x93NUMPY": "an array of numpy",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "packed with gzip",
}


class ContentRefused(ValueError):
    """A file is whole, and holds what is not taken. The message lacks the file's name, which `damaged_file` adds."""


def refuse_what_is_no_file(path: Path) -> None:
    """Refuse a pipe or a device, which may never end and cannot be looked at twice.

    Raises:
        BadInput: naming it, and what to do.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise BadInput(f"{path} is a pipe or a device: write what it gives into a file first")


def refuse_workbook(path: Path, start: bytes) -> None:
    """Refuse a workbook of a spreadsheet program.

    Args:
        path: names it in the message.
        start: how it begins, 2,880 bytes or less.

    Raises:
        BadInput: naming it, and what to do.
    """
    is_excel = start.startswith(b"\xd0\xcf\x11\xe0") or (start.startswith(b"PK") and b"[Content_Types].xml" in start)
    if is_excel or (start.startswith(b"PK") and b"mimetypeapplication/vnd.oasis" in start):
        raise BadInput(f"{path} is {'an Excel' if is_excel else 'an OpenDocument'} workbook: save the sheet as CSV")


def damaged_file(path: Path, error: Exception, what: str = "") -> BadInput:
    """The refusal of a file that a library cannot read.

    Args:
        path: of the file, or of a folder of Parquet files.
        error: the library's, or a `ContentRefused` of ours.
        what: it was read as, as " as a table".
    """
    if isinstance(error, MemoryError):
        return BadInput(f"cannot read {path}{what}: it needs more memory than there is")
    if isinstance(error, ContentRefused):
        return BadInput(f"cannot read {path}{what}: {error}")
    start = b"PAR1"
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
    form = next((form for magic, form in _FORMS.items() if start.startswith(magic)), None)
    if form is None:
        return BadInput(f"cannot read {path}{what}: {first_line(error)}")
    return BadInput(
        f"cannot read {path}{what}: it begins as {form} and is cut short, damaged or of an unusual kind; copy it anew"
        f" from where it was made, or save it in another form ({first_line(error)})"
    )


def first_line(error: Exception) -> str:
    """What a library's error says, in a line; where it tells of an array and too few bytes, what that means."""
    lines = str(error).splitlines() or [type(error).__name__]
    short = lines[0].startswith(("cannot reshape array", "buffer is too small"))
    return "it is cut short" if short else sanitize_text(lines[0])[:160]
