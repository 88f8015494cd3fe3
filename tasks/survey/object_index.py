"""Which object lies where: the table beside a folder of partitions."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.validation import sanitize_text
from inference.errors import BadInput

OBJECTS = ".objects.parquet"  # beside a folder of partitions: which object lies where
_MAGIC = b"PAR1"


OBJECT_SCHEMA = pa.schema(
    [
        ("file", pa.string()),  # name of the partition in its folder
        ("index", pa.int64()),
        ("object_id", pa.string()),
        ("ra", pa.float64()),  # degrees, ICRS; null where unknown
        ("dec", pa.float64()),
        ("z_spec", pa.float64()),  # as the partition has it: whether the two belong together
    ]
)


def read_parquet(data: bytes, name: str) -> pa.Table:
    """A Parquet table.

    Raises:
        BadInput: naming it: it is none, or damaged.
    """
    try:
        return pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise no_parquet(name, error, data[:4]) from None


def no_parquet(name: str, error: Exception, start: bytes) -> BadInput:
    """What to say of a file that cannot be read as a Parquet table, by its first four bytes."""
    if start != _MAGIC:
        return BadInput(f"{name} is not a Parquet table: write it as one, for example with pandas' to_parquet")
    return BadInput(f"{name} is a damaged Parquet table: {first_line(error)}")


def first_line(error: Exception) -> str:
    """The first line of a library's message, at most 120 characters."""
    return sanitize_text(str(error).splitlines()[0] if str(error) else type(error).__name__)[:120]
