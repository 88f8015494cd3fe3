"""Tensors of a safetensors file as views of the mapped file.

The library's numpy reader copies a tensor whole, and surveys are larger than memory. The format:
8 bytes of header length, little-endian, a JSON header `{name: {dtype, shape, data_offsets}}`,
the data.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from inference.contract.json_text import parse_json
from inference.contract.tensor_layout import check_apart, count_elements
from inference.errors import BadPartition
from inference.partitions.pt_file import Buffer

FACTS = "cosmic"  # key of the metadata
_MAX_HEADER = 1 << 20  # three tensors need 200 bytes; the format itself allows 100 MB
_DTYPES: dict[object, "np.dtype[Any]"] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


def has_header(buffer: Buffer) -> bool:
    """Whether the file starts as the format demands."""
    return buffer[8:9] == b"{"


def read_tensors(buffer: Buffer, wanted: Iterable[str], name: str) -> dict[str, np.ndarray]:
    """Map those of the wanted tensors that the file has.

    Args:
        buffer: the whole file.
        wanted: names of tensors; others are not looked at.
        name: how the file is called in messages.

    Returns:
        Read-only views of the buffer, float32 or float64.

    Raises:
        BadPartition: naming the file: truncated, damaged, two tensors share bytes, or one is neither F32 nor F64.
    """
    header, start = _header(buffer, name)
    data = np.frombuffer(buffer, np.uint8)[start:]
    there = [tensor for tensor in wanted if tensor in header]
    views = {tensor: _view(data, header[tensor], f"{name}: tensor {tensor}") for tensor in there}
    try:
        check_apart(tuple(header[tensor]["data_offsets"]) for tensor in there)
    except ValueError as error:
        raise BadPartition(f"{name}: {error} in the safetensors header") from None
    return views


def read_facts(buffer: Buffer, name: str) -> str | None:
    """The note of the survey in the header's metadata; None where there is none.

    Raises:
        BadPartition: naming the file: truncated or damaged.
    """
    metadata = _header(buffer, name)[0].get("__metadata__")
    facts = metadata.get(FACTS) if isinstance(metadata, dict) else None
    return facts if isinstance(facts, str) else None


def _header(buffer: Buffer, name: str) -> tuple[dict[str, Any], int]:
    """The header, and where the data begin."""
    start = 8 + int.from_bytes(buffer[:8], "little")
    if start > 8 + _MAX_HEADER:
        raise BadPartition(f"{name} claims a safetensors header of {start - 8} bytes")
    if start > len(buffer):
        raise BadPartition(f"{name} is truncated")
    header = parse_json(bytes(buffer[8:start]), f"{name}: the safetensors header", BadPartition)
    if not isinstance(header, dict):
        raise BadPartition(f"{name}: the safetensors header is no JSON object")
    return header, start


def _view(data: np.ndarray, entry: Any, what: str) -> np.ndarray:
    """The array that an entry of the header describes."""
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not all(type(number) is int and 0 <= number <= 1 << 62 for number in (begin, end)):
            raise ValueError
        dtype = _DTYPES.get(kind) if isinstance(kind, str) else None
        if dtype is None:
            raise BadPartition(f"{what} must be F32 or F64, not {kind!r:.20}")
        count = count_elements(shape, max(end - begin, 0) // dtype.itemsize)
    except (LookupError, TypeError, ValueError):
        raise BadPartition(f"{what} is damaged in the safetensors header") from None
    if end - begin != count * dtype.itemsize:
        raise BadPartition(f"{what} claims another size than its shape has")
    if end > len(data):
        raise BadPartition(f"{what} is cut off, the file is truncated")
    return data[begin:end].view(dtype).reshape(shape)
