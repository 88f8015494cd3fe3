"""Prefect's assets: partitions, models and results under the address where they lie, and what each was made from.

A step of `making_step` is given what it makes, and from what, when it is called. When it has ended well, Prefect sends
the server one event for each asset, with its sources. The API's events, and Prefect Cloud's page of assets, show the
lineage.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect.assets import Asset
from prefect.tasks import MaterializingTask
from prefect.types.names import MAX_ASSET_KEY_LENGTH, RESTRICTED_ASSET_CHARACTERS

from inference.storage.store import Store

_P = ParamSpec("_P")
_R = TypeVar("_R")
_REFUSED = re.compile("[" + "".join(map(re.escape, RESTRICTED_ASSET_CHARACTERS)) + "]")


def file_asset(path: Path | str) -> Asset | None:
    """A file or folder of this machine.

    >>> file_asset("/data/my survey").key
    'file:///data/my_survey'
    """
    return _asset(f"file://{Path(path).expanduser().absolute()}")


def stored_asset(store: Store, bucket: str, key: str) -> Asset | None:
    """What lies under a key, or under a prefix, of a store."""
    return _asset(f"s3://{bucket}/{key}") if not store.is_local else file_asset(Path(store.root) / bucket / key)


def making(
    step: MaterializingTask[_P, _R], makes: Iterable[Asset | None], of: Iterable[Asset | None]
) -> MaterializingTask[_P, _R]:
    """The step, which makes these assets from those; None among them counts for nothing."""
    return step.with_options(assets=[each for each in makes if each], asset_deps=[each for each in of if each])


def _asset(address: str) -> Asset | None:
    """None where the address is longer than Prefect takes; letters that it refuses become underscores."""
    return Asset(key=_REFUSED.sub("_", address)) if len(address) <= MAX_ASSET_KEY_LENGTH else None
