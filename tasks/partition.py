"""partition_dataset: the partitions of a request as a step."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.contract.run_request import PartitionRequest, RunRequest
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.retries import STEP_RETRIES, worth_retrying
from tasks.reporting.formatting import plain
from tasks.survey.partitions import make_partitions


@task(
    name="partition data set",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,  # a retried flow run looks again at what lies in the store
)
def partition_dataset(request: RunRequest, wanted: PartitionRequest, store_root: str, run_id: str) -> None:
    """`make_partitions` as a step of a run; publishes how they came out."""
    written = make_partitions(request, wanted, Store(store_root), run_id)
    create_table_artifact(
        [{"partition": stored.key, "MB": round(stored.size / 1e6, 2)} for stored in written],
        key="cosmic-partitions",
        description=f"{len(written)} partitions in {plain(f'{request.data_bucket}/{request.data_prefix}/')}",
    )
