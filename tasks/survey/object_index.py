"""Which object lies where: the table beside a folder of partitions."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.validation import sanitize_text
from inference.errors import BadInput

OBJECTS = ".objects.parquet"  # beside a folder of partitions: which object lies where


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
        raise BadInput(
            f"{name} is not a Parquet table, or damaged: {sanitize_text(str(error).splitlines()[0]):.120}"
        ) from None
