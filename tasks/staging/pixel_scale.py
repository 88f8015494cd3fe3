"""The pixels of a run's partitions, held against those that its model was trained on."""

from collections.abc import Sequence
from pathlib import Path

from inference.contract.run_request import RunRequest
from inference.contract.survey_facts import SurveyFacts, differing_scales
from inference.errors import BadInput
from inference.partitions.access import read_facts
from inference.runs.plan import select_files
from inference.storage.store import Store, StoredObject
from tasks.staging.weights import Weights
from tasks.survey.partitions import open_survey

_LOOKED_AT = 8  # partitions of a run, spread over it: one survey is the rule


def check_pixel_scale(
    request: RunRequest, store: Store, listing: Sequence[StoredObject] | None, weights: Weights | None
) -> str | None:
    """Refuse partitions whose pixels are not of the scale that the model knows.

    Args:
        request: the checked request.
        store: the object store.
        listing: every object under the data prefix; None where partitions are yet to be made from the source.
        weights: of the built-in engine; None for a script, of which nothing is known.

    Returns:
        A note for the report: scales that differ and are taken (`take_other_pixels`), or are not known; else None.

    Raises:
        BadInput: they differ by more than 3 %; names both, and the way on.
        StoreError: the store cannot be read.
    """
    trained = None if weights is None or weights.training_data is None else weights.training_data.pixel_scale
    if trained is None:
        return None
    facts = _facts(request, store, listing)
    scales = {name: found.pixel_scale for name, found in facts.items() if found is not None and found.pixel_scale}
    for name, scale in scales.items():
        if not differing_scales(scale, trained):
            continue
        differ = f"{name} has pixels of {scale:.4g} arcseconds and the model was trained on {trained:.4g}"
        if request.take_other_pixels:
            return f"{differ}: taken all the same (take_other_pixels)"
        raise BadInput(
            f"{differ}: resample the images, choose a model of that scale, or set take_other_pixels to run all the same"
        )
    if not scales:
        return (
            f"the partitions do not say how large their pixels are; the model was trained on {trained:.4g} arcseconds"
        )
    return None


def _facts(request: RunRequest, store: Store, listing: Sequence[StoredObject] | None) -> dict[str, SurveyFacts | None]:
    """What the source, or some partitions, say of their survey, by name."""
    if listing is None:
        source = str(request.partition.source if request.partition else "")
        return {source: open_survey(Path(source).expanduser()).facts}
    files = select_files(listing, request)
    chosen = files[:: -(-len(files) // _LOOKED_AT)]
    return {stored.key: read_facts(store, request.data_bucket, stored.key, stored) for stored in chosen}
