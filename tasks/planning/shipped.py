"""Measurements that come with the package, for whoever has no runs of their own yet."""

import math
from dataclasses import replace
from importlib.resources import files

from inference.contract.json_text import parse_json
from inference.model.config import SMALL, AstroMAEConfig
from inference.model.tensor_shapes import parameters_of
from tasks.planning.stages import Line, StageModel
from tasks.sweeps.local_rates import LOCAL_RATE

MEASURED, PUBLISHED = parameters_of(SMALL), parameters_of(AstroMAEConfig())


def shipped(executor: str, *, parameters: int | None = MEASURED) -> StageModel:
    """The shipped model of an executor; its `source` says what it is.

    On local and Dask workers the demo's weights were measured. The time of a galaxy with other weights is put on the
    line, in logarithms, through the demo's and that of the published size.

    Args:
        executor: its name.
        parameters: how many the run's model has; None, where that is not known, stands for the published size. What is
            shipped for AWS is of the published size anyway.
    """
    document = parse_json((files("tasks.planning") / "shipped.json").read_bytes(), "shipped.json")
    model = StageModel.from_dict(document[executor])
    if parameters == MEASURED or executor not in {"local", "dask"}:
        return model
    slope = math.log(1.0 / LOCAL_RATE / model.compute.each) / math.log(PUBLISHED / MEASURED)
    each = model.compute.each * ((parameters or PUBLISHED) / MEASURED) ** slope
    size = "the published size" if parameters is None else f"{parameters:,} parameters"
    source = f"{model.source}; computing is a guess for a model of {size}, {1.0 / each:,.0f} galaxies/s a core"
    return replace(model, source=source, compute=Line(model.compute.fixed, each))
