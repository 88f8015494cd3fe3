"""The automation that ends runs which stopped reporting: killed ones, and those whose machine is gone."""

from pathlib import Path

import yaml
from prefect.automations import Automation
from prefect.client.orchestration import get_client

AUTOMATION = Path(__file__).parents[2] / "deployments" / "server" / "crash-detection.yaml"


def create_crash_detection() -> None:
    """Create the automation on the server that Prefect's settings name, unless it is there."""
    automation = Automation.model_validate(yaml.safe_load(AUTOMATION.read_text()))
    with get_client(sync_client=True) as client:
        known = client.request("POST", "/automations/filter", json={}).json()
    if automation.name not in {each["name"] for each in known}:
        automation.create()
