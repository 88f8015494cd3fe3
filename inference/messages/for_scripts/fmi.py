"""The module `fmi` of staged scripts. What these call `inference` themselves stays theirs: the replaced system's do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_NAME = "inference"
_PACKAGE = Path(__file__).resolve().parents[2]


def _is_found() -> bool:
    """Whether the name means this project's package."""
    try:
        spec = find_spec(_NAME)
    except ValueError:  # a module that somebody made by hand
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == _PACKAGE / "__init__.py"


@contextmanager
def _meant() -> Iterator[None]:
    """Let the name mean this project's package, whichever interpreter this is, and afterwards what it meant before."""
    theirs = _take_out()
    places = [str(_PACKAGE)]
    spec = spec_from_file_location(_NAME, _PACKAGE / "__init__.py", submodule_search_locations=places)
    assert spec is not None and spec.loader is not None  # noqa: S101 - it is a file of Python
    sys.modules[_NAME] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[_NAME])
        yield
    finally:
        _take_out()
        sys.modules.update(theirs)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == _NAME]
    return {name: sys.modules.pop(name) for name in names}


if _is_found():
    from inference.messages.communicator import Communicator
    from inference.messages.values import datatypes, func, hints, op, types
else:
    with _meant():
        from inference.messages.communicator import Communicator
        from inference.messages.values import datatypes, func, hints, op, types

__all__ = ["Communicator", "datatypes", "func", "hints", "op", "types"]
