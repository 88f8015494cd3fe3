"""One sample: its bands, its image shape and its size in bits and megabytes."""

import re
from decimal import Decimal

from inference.errors import BadInput

IMAGE_SHAPE = (5, 32, 32)  # bands u g r i z


BANDS = 5
R_BAND = 2  # of u g r i z


BAND_NAMES = "ugriz"


BITS_PER_SAMPLE = 8 * (4 * 5 * 32 * 32 + 8 * BANDS)  # of model input: 164,160


BYTES_PER_SAMPLE = BITS_PER_SAMPLE // 8 + 8  # in a partition: the model's input and the redshift


SAMPLES_PER_MB = 51.13


def bytes_per_sample(shape: tuple[int, int, int]) -> int:
    """Bytes of a galaxy in a partition: image in float32, magnitudes and redshift in float64.

    >>> bytes_per_sample(IMAGE_SHAPE) == BYTES_PER_SAMPLE, bytes_per_sample((4, 64, 64))
    (True, 65576)

    Args:
        shape: bands, height and width of its cut-outs.
    """
    bands, height, width = shape
    return 4 * bands * height * width + 8 * bands + 8


_UNITS = ("MB", "GB", "TB", "PB")
_SIZE = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(MB|GB|TB|PB)\s*", re.IGNORECASE | re.ASCII)


def samples_of_size(size: str | float) -> int:
    """Galaxies in a partition of a size (contract, "Data"): floor(51.13 x MB).

    >>> samples_of_size("25MB")
    1278

    Args:
        size: "25MB", "1.5 GB" (1,024 MB a GB, and so on to TB and PB), or a number of MB.

    Raises:
        BadInput: another text, or less than one galaxy.
    """
    match = _SIZE.fullmatch(size if isinstance(size, str) else f"{float(size):.6f}MB")
    if match is None:
        raise BadInput(f"a size is written as 25MB, 1GB or 1TB, not {size!r:.40}")
    megabytes = Decimal(match[1]) * 1024 ** _UNITS.index(match[2].upper())
    samples = int(megabytes * Decimal(str(SAMPLES_PER_MB)))
    if samples < 1:
        raise BadInput(f"a size of {size} has room for no galaxy")
    return samples
