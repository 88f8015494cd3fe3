"""Measurements that come with the package, for whoever has no runs of their own yet."""

from dataclasses import replace
from importlib.resources import files

from inference.contract.json_text import parse_json
from tasks.planning.stages import Line, StageModel
from tasks.sweeps.local_rates import LOCAL_RATE


def shipped(executor: str, *, demo: bool = True) -> StageModel:
    """The shipped model of an executor; its `source` says what it is.

    Args:
        executor: its name.
        demo: whether the run computes with the demo's weights, which are small; other weights are taken to be of the
            published size. What is shipped for AWS is of the published size anyway.
    """
    document = parse_json((files("tasks.planning") / "shipped.json").read_bytes(), "shipped.json")
    model = StageModel.from_dict(document[executor])
    if demo or executor not in {"local", "dask"}:
        return model
    source = f"{model.source}; computing is a guess for a model of the published size, {LOCAL_RATE:g} galaxies/s a core"
    return replace(model, source=source, compute=Line(model.compute.fixed, 1.0 / LOCAL_RATE))
