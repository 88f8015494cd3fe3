"""torch is an optional dependency: what needs it asks here first."""

import importlib.util

from inference.errors import BadInput


def require_torch(what: str) -> None:
    """Check that torch can be imported, without importing it.

    Args:
        what: needs it; begins the message.

    Raises:
        BadInput: torch is not installed; the message has the command that installs it.
    """
    if importlib.util.find_spec("torch") is None:
        raise BadInput(f"{what} needs torch, which is not installed: pip install 'cosmic-flows[train]'")
