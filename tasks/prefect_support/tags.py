"""Tags of flow runs, by which the UI finds them."""

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run


def tag_flow_run(*tags: str) -> None:
    """Add `cosmic` and these tags to the flow run, not to its task runs (docs/decisions/0003)."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=sorted({*flow_run.tags, "cosmic", *tags}))
