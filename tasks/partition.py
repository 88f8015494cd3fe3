"""partition_dataset: the partitions of a request as a step."""

from inference.contract.run_request import PartitionRequest, RunRequest
from inference.storage.store import Store, StoredObject
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.step import step
from tasks.reporting.formatting import plain
from tasks.survey.partitions import make_partitions


@step("partition data set")
def partition_dataset(
    request: RunRequest, wanted: PartitionRequest, store_root: str, run_id: str
) -> list[StoredObject]:
    """`make_partitions` as a step of a run; publishes how they came out, and returns them."""
    written = make_partitions(request, wanted, Store(store_root), run_id)
    create_table_artifact(
        [{"partition": stored.key, "MB": round(stored.size / 1e6, 2)} for stored in written],
        key="cosmic-partitions",
        description=f"{len(written)} partitions in {plain(f'{request.data_bucket}/{request.data_prefix}/')}",
    )
    return written
