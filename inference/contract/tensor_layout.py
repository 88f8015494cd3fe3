"""A tensor's header against its bytes: the one check of shapes, strides and offsets that come from a file.

Every reader of tensors calls it before it allocates, multiplies or reshapes anything: a header of a few kilobytes may
claim thousands of axes, or numbers of thousands of bits.
"""

from collections.abc import Iterable, Sequence

MOST_AXES = 8  # images have four, weights of convolutions four
_LARGEST = 1 << 48  # elements of a shape, its zeros left out; more than any file holds, and safe in 64-bit arithmetic


def count_elements(shape: object, available: int) -> int:
    """How many elements a shape has.

    Args:
        shape: a tuple or list of whole numbers, as the file has it.
        available: how many elements the tensor's data holds; more are refused.

    Raises:
        ValueError: it is no shape, has more than MOST_AXES axes, or claims more elements than there are.

    >>> count_elements((2, 3), 6)
    6
    >>> count_elements([2**63, 0, 32, 32], 0)
    Traceback (most recent call last):
    ...
    ValueError: a tensor's shape is damaged
    """
    sizes = _whole_numbers(shape)
    extent = 1
    for size in sizes:
        extent *= max(size, 1)
        if extent > _LARGEST:
            raise ValueError("a tensor's shape is damaged")
    count = 0 if 0 in sizes else extent
    if count > available:
        raise ValueError("a tensor reaches beyond its data")
    return count


def check_layout(shape: object, strides: object, offset: object, available: int) -> int:
    """How many elements a strided view has; it stays within the data and repeats none of it.

    Args:
        shape: as for `count_elements`.
        strides: elements between neighbours along each axis.
        offset: elements before the first.
        available: elements of the data.

    Raises:
        ValueError: it is no layout, or leads out of the data, or has more elements than the data.
    """
    count = count_elements(shape, available)
    sizes, steps = _whole_numbers(shape), _whole_numbers(strides)
    (start,) = _whole_numbers((offset,))
    if len(steps) != len(sizes):
        raise ValueError("a tensor's shape is damaged")
    last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True)) if count else start - 1
    if last >= available or start > available:
        raise ValueError("a tensor reaches beyond its data")
    return count


def check_apart(spans: Iterable[tuple[int, int]]) -> None:
    """Refuse tensors of one file that share bytes, where its format keeps them apart.

    Args:
        spans: first byte and end of each.

    Raises:
        ValueError: two of them overlap.

    >>> check_apart([(8, 12), (0, 8), (8, 8)])
    >>> check_apart([(0, 8), (4, 12)])
    Traceback (most recent call last):
    ...
    ValueError: two tensors share bytes
    """
    reached = 0
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if begin < reached:
            raise ValueError("two tensors share bytes")
        reached = end


def is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a checked layout is C order; strides of axes of length one do not matter, nor any without elements."""
    if 0 in shape:
        return True
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _whole_numbers(values: object) -> list[int]:
    if not isinstance(values, tuple | list) or len(values) > MOST_AXES:
        raise ValueError("a tensor's shape is damaged")
    for value in values:
        if type(value) is not int or not 0 <= value <= 1 << 62:
            raise ValueError("a tensor's shape is damaged")
    return list(values)
