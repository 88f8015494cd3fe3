"""The name of a stack, and of the state machine in it."""

import re

from inference.contract.run_request import STACK, STACK_NAME, name_prefix
from inference.errors import BadInput

__all__ = ["STACK", "checked_stack", "machine_name", "name_prefix"]


def checked_stack(name: str) -> str:
    """The name, if a stack may have it.

    Raises:
        BadInput: it may not.
    """
    if not re.fullmatch(STACK_NAME, name):
        raise BadInput(f"--stack-name must be a letter and up to 39 letters, digits and hyphens, not {name!r:.60}")
    return name


def machine_name(stack: str) -> str:
    """Name of the stack's state machine."""
    return f"{name_prefix(stack)}cosmic-flows"
