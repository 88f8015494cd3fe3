"""What a run's galaxies are, held against what its model knows, before the first write."""

from collections.abc import Sequence
from pathlib import Path

from inference.contract.run_request import RunRequest
from inference.contract.sample import IMAGE_SHAPE
from inference.contract.survey_facts import SurveyFacts
from inference.runs.known_survey import LOOKED_AT, check_facts, read_some_facts
from inference.storage.store import Store, StoredObject
from tasks.staging.weights import ImageShape, Weights
from tasks.survey.partitions import open_survey


def check_survey(
    request: RunRequest, store: Store, listing: Sequence[StoredObject] | None, weights: Weights | None
) -> str | None:
    """Refuse galaxies with other pixels, bands or units than the model knows.

    Args:
        request: the checked request.
        store: the object store.
        listing: every object under the data prefix; None where partitions are yet to be made from the source.
        weights: of the built-in engine; None for a script, of which nothing is known.

    Returns:
        A note for the report (`inference.runs.known_survey.check_facts`), or None.

    Raises:
        BadInput: they differ; names both, and the way on.
        StoreError: the store cannot be read.
    """
    if weights is None:
        return None
    return check_facts(request, _facts(request, store, listing), weights.training_data)


def shape_of_galaxies(request: RunRequest, store: Store, listing: Sequence[StoredObject] | None) -> ImageShape:
    """Bands, height and width of the cut-outs that a run is over, as its first partition has them.

    Raises:
        BadInput: there is no partition, or the source cannot be read.
        StoreError: the store cannot be read.
    """
    first = next(iter(_facts(request, store, listing, 1).values()))
    return IMAGE_SHAPE if first is None else first.image_shape


def _facts(
    request: RunRequest, store: Store, listing: Sequence[StoredObject] | None, most: int = LOOKED_AT
) -> dict[str, SurveyFacts | None]:
    if listing is None:
        source = str(request.partition.source if request.partition else "")
        return {source: open_survey(Path(source).expanduser()).facts}
    return read_some_facts(store, request, listing, most)
