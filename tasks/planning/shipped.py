"""Measurements that come with the package, for whoever has no runs of their own yet."""

from importlib.resources import files

from inference.contract.json_text import parse_json
from tasks.planning.stages import StageModel


def shipped(executor: str) -> StageModel:
    """The shipped model of an executor; its `source` says what it is."""
    document = parse_json((files("tasks.planning") / "shipped.json").read_bytes(), "shipped.json")
    return StageModel.from_dict(document[executor])
