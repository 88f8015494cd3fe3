"""YAML from outside: a sweep, a cluster."""

from pathlib import Path
from typing import Any

import yaml

from inference.contract.documents import read_document
from inference.contract.json_text import duplicate
from inference.errors import BadInput


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """Without aliases, of which ten lines can stand for gigabytes, and without keys that stand twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name): write out what that stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        try:
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        except yaml.constructor.ConstructorError as error:
            if "unhashable" not in str(error):
                raise
            raise yaml.YAMLError("a key in it is a list or a mapping, and must be a name") from None
        if len(mapping) < len(node.value):
            twice = duplicate([self.construct_object(key) for key, _ in node.value])
            raise yaml.YAMLError(f"it names the key {twice} twice")
        return mapping


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file says.

    Args:
        path: of the file.
        what: it is, for messages, as "the sweep".

    Raises:
        BadInput: it cannot be read, is no YAML, has an alias, or names a key twice.
    """
    try:
        return yaml.load(read_document(path, what), _Plain)  # noqa: S506 - a safe loader, and stricter
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{what} {path} is not YAML: {str(error).splitlines()[0]}") from None
