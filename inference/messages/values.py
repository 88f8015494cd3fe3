"""Types and operations of `fmi`, by the names that scripts use, and values as bytes."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import BadInput


class datatypes(Enum):  # noqa: N801 - the name that scripts use
    """What a message holds; an int has 64 bits."""

    int = 1
    double = 2
    int_list = 3
    double_list = 4


class hints(Enum):  # noqa: N801 - as above
    """What a script would rather have; the run decides."""

    fast = 1
    cheap = 2


class op(Enum):  # noqa: N801 - as above
    """Operations of reduce, allreduce and scan; of lists, element by element."""

    sum = 1
    prod = 2
    max = 3
    min = 4
    custom = 5


class types:  # noqa: N801 - as above
    """A type with its number of elements.

    Args:
        datatype: of the value.
        length: elements of a list; 1 of a single value.
    """

    def __init__(self, datatype: datatypes, length: int = 1) -> None:
        self.datatype = datatype
        self.is_list = datatype in {datatypes.int_list, datatypes.double_list}
        self.length = length if self.is_list else 1
        self._dtype = np.dtype("<i8" if datatype in {datatypes.int, datatypes.int_list} else "<f8")

    def encode(self, value: Any, *, what: str = "value") -> bytes:
        """A value as bytes.

        Raises:
            BadInput: it is not of this type.
        """
        try:
            array = np.asarray(value if self.is_list else [value])
            right = array.ndim == 1 and array.dtype.kind in "biuf" and len(array) == self.length
            if right and self._dtype.kind == "i":
                with np.errstate(invalid="ignore"):
                    right = bool((array == array.astype(self._dtype)).all())
        except (TypeError, ValueError, OverflowError):
            right = False
        if not right:
            raise BadInput(f"fmi: the {what} is no {self.datatype.name} of {self.length} elements: {value!r:.60}")
        return array.astype(self._dtype).tobytes()

    def array(self, data: bytes) -> NDArray[Any]:
        """Bytes as an array; it cannot be written to.

        Raises:
            BadInput: it has another length.
        """
        values = np.frombuffer(data, self._dtype)
        if len(values) != self.length:
            raise BadInput(f"fmi: {len(values)} elements came where {self.length} were expected: ranks disagree")
        return values

    def decode(self, data: bytes) -> Any:
        """Bytes as a value: an int, a float or a list."""
        values = self.array(data).tolist()
        return values if self.is_list else values[0]


class func:  # noqa: N801 - as above
    """An operation.

    Args:
        operation: one of `op`.
        function: of two elements, for `op.custom`.
        commutative: whether f(a, b) is f(b, a); ranks are always combined from left to right.
        associative: whether the order of combining does not matter; without, one rank does all of it.
    """

    _KNOWN = {op.sum: np.add, op.prod: np.multiply, op.max: np.maximum, op.min: np.minimum}  # noqa: RUF012 - read only

    def __init__(
        self,
        operation: op,
        function: Callable[[Any, Any], Any] | None = None,
        commutative: bool = False,
        associative: bool = False,
    ) -> None:
        if (operation is op.custom) != (function is not None):
            raise BadInput("fmi: a function goes with op.custom, and op.custom with a function")
        self.operation, self.function, self.commutative = operation, function, commutative
        self.associative = associative or operation is not op.custom

    def combining(self, kind: types) -> Callable[[bytes, bytes], bytes]:
        """The operation over encoded values of a type."""

        def known(left: bytes, right: bytes) -> bytes:
            combined: NDArray[Any] = self._KNOWN[self.operation](kind.array(left), kind.array(right))
            return combined.tobytes()

        def custom(left: bytes, right: bytes) -> bytes:
            assert self.function is not None  # noqa: S101 - or it would not be custom
            pairs = zip(kind.array(left).tolist(), kind.array(right).tolist(), strict=True)
            values = [self.function(*pair) for pair in pairs]
            return kind.encode(values if kind.is_list else values[0], what="function's result")

        return custom if self.operation is op.custom else known
