"""Whether any id stands twice among more ids than fit into memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from inference.errors import BadInput

_FILES = 64  # by the highest bits of the hash; each is looked at by itself


class UniqueIds:
    """Hashes of ids on disk, 8 bytes each, of which a sixty-fourth is in memory at a time.

    Args:
        folder: for the hashes, which must be there.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{number}.ids" for number in range(_FILES)]

    def add(self, ids: pd.Series) -> None:
        """Note these ids."""
        hashes = pd.util.hash_array(ids.to_numpy(object), categorize=False)
        number = (hashes >> np.uint64(58)).astype(np.int64)
        for each in np.unique(number):
            with self._paths[each].open("ab") as file:
                file.write(hashes[number == each].tobytes())

    def check(self, again: Callable[[], Iterator[pd.DataFrame]]) -> None:
        """Refuse an id that stands twice.

        Args:
            again: the rows once more, with object_id, partition and row; called where a hash stands twice.

        Raises:
            BadInput: naming the first such id, and two of its places.
        """
        twice = [_twice(np.fromfile(path, np.uint64)) for path in self._paths if path.exists()]
        suspects = np.concatenate(twice) if twice else np.empty(0, np.uint64)
        if not len(suspects):
            return
        found = [
            rows.loc[
                np.isin(pd.util.hash_array(rows["object_id"].to_numpy(object), categorize=False), suspects),
                ["object_id", "partition", "row"],
            ]
            for rows in again()
        ]
        refuse_duplicates(pd.concat(found))


def refuse_duplicates(rows: pd.DataFrame) -> None:
    """Refuse an object id that stands twice; rows have object_id, partition and row.

    Raises:
        BadInput: naming the first such id, and two of its places.
    """
    again = rows["object_id"].duplicated()
    if not again.any():
        return
    name = rows.loc[again, "object_id"].iloc[0]
    places = rows[rows["object_id"] == name].head(2)
    where = " and ".join(
        f"row {row} of {partition}" for partition, row in zip(places["partition"], places["row"], strict=True)
    )
    more = int(again.sum()) - 1
    raise BadInput(f"the object id {name!r:.80} stands twice, {where}{f'; so do {more:,} others' if more else ''}")


def _twice(hashes: np.ndarray) -> np.ndarray:
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
