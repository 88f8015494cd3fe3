"""The galaxies of a run's partitions, held against those that its model was trained on."""

from collections.abc import Mapping, Sequence

from inference.contract.run_request import RunRequest
from inference.contract.survey_facts import SurveyFacts, difference
from inference.errors import BadInput
from inference.partitions.access import read_facts
from inference.runs.plan import select_files
from inference.storage.store import Store, StoredObject

LOOKED_AT = 8  # partitions of a run, spread over it: one survey is the rule


def read_some_facts(
    store: Store, request: RunRequest, listing: Sequence[StoredObject], most: int = LOOKED_AT
) -> dict[str, SurveyFacts | None]:
    """What at most so many partitions of a run say of their survey, by key; None where one says nothing.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be read.
    """
    files = select_files(listing, request)
    chosen = files[:: -(-len(files) // most)]
    return {stored.key: read_facts(store, request.data_bucket, stored.key, stored) for stored in chosen}


def check_facts(
    request: RunRequest, facts: Mapping[str, SurveyFacts | None], trained: SurveyFacts | None
) -> str | None:
    """Refuse galaxies with other pixels, bands or units than the model knows.

    Args:
        request: the checked request.
        facts: of partitions or of the source, by name.
        trained: what the model was trained on; None where it does not say.

    Returns:
        A note for the report: a difference that is taken (`take_other_pixels`), or what is not known; else None.

    Raises:
        BadInput: there is a difference; names both sides, and the way on.
    """
    for name, found in facts.items():
        differ = None if found is None else difference(found, trained or SurveyFacts.of_sdss_bands(None))
        if differ is None:
            continue
        if trained is None:
            return f"{name} has {differ.found}; the model does not say what it was trained on"
        differs = f"{name} has {differ.found} and the model was trained on {differ.trained}"
        if request.take_other_pixels:
            return f"{differs}: taken all the same (take_other_pixels)"
        raise BadInput(f"{differs}: {differ.way}, or set take_other_pixels to run all the same")
    scale = None if trained is None else trained.pixel_scale
    if scale is not None and not any(found is not None and found.pixel_scale for found in facts.values()):
        return f"the partitions do not say how large their pixels are; the model was trained on {scale:.4g} arcseconds"
    return None
