"""Which object lies where: the table beside a folder of partitions."""

from pathlib import Path

import pyarrow as pa

from inference.errors import BadInput
from tasks.survey.damaged_file import first_line

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


def no_parquet(path: Path, name: str, error: Exception) -> BadInput:
    """What to say of a file that cannot be read as a Parquet table."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return BadInput(f"{name} is not a Parquet table: write it as one, for example with pandas' to_parquet")
    return BadInput(f"{name} is a damaged Parquet table: make or copy it anew ({first_line(error)})")
