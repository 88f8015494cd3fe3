"""The module `fmi` of staged scripts."""

from inference.messages.communicator import Communicator
from inference.messages.values import datatypes, func, hints, op, types

__all__ = ["Communicator", "datatypes", "func", "hints", "op", "types"]
