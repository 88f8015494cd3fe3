"""What a run's galaxies are, held against what its model knows, before the first write."""

from collections.abc import Sequence
from pathlib import Path

from inference.contract.run_request import RunRequest
from inference.runs.known_survey import check_facts, read_some_facts
from inference.storage.store import Store, StoredObject
from tasks.staging.weights import Weights
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
    if listing is None:
        source = str(request.partition.source if request.partition else "")
        facts = {source: open_survey(Path(source).expanduser()).facts}
    else:
        facts = read_some_facts(store, request, listing)
    return check_facts(request, facts, weights.training_data)
