"""The objects whose redshift is furthest off: looked at one by one, they tell more than a metric."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from inference.contract.counted import counted
from inference.contract.plausible import PREDICTION, REDSHIFT
from inference.contract.survey_facts import R_MAGNITUDE
from inference.engines.columns import OUT_OF_DOMAIN
from inference.errors import CosmicError
from inference.partitions.access import open_access
from inference.storage.store import Store
from tasks.photoz.calibration import BOUNDS
from tasks.photoz.magnitude import magnitude_of, title_of
from tasks.reporting.formatting import number
from tasks.reporting.table import Column, Row, Table

if TYPE_CHECKING:
    from tasks.reporting.figures import Picture

WORST = 10
_MOST_BYTES = 256 << 20  # of partitions that are fetched from a remote store for their cut-outs
_COLUMNS = 5  # cut-outs side by side


class WorstObjects:
    """The WORST objects of those looked at so far, each once."""

    def __init__(self) -> None:
        self._rows = pd.DataFrame()

    def look_at(self, rows: pa.Table) -> None:
        """Look at some more objects.

        Args:
            rows: file, index, z_pred, z_spec, the magnitude and, where there are any, the intervals and out_of_domain.
        """
        z_pred, z_spec = (rows[name].to_numpy().astype(np.float64) for name in ("z_pred", "z_spec"))
        known = np.flatnonzero(REDSHIFT.measured(z_spec) & PREDICTION.measured(z_pred))
        delta = (z_pred[known] - z_spec[known]) / (1 + z_spec[known])
        worst = np.argsort(-np.abs(delta), kind="stable")[:WORST]
        kept = ["file", "index", "z_pred", "z_spec", magnitude_of(rows.column_names)]
        kept += [name for name in (*BOUNDS, OUT_OF_DOMAIN) if name in rows.column_names]
        found = pd.concat([self._rows, rows.select(kept).take(known[worst]).to_pandas().assign(delta=delta[worst])])
        order = np.argsort(-np.abs(found["delta"].to_numpy(np.float64)), kind="stable")[:WORST]
        self._rows = found.iloc[order]

    def to_list(self) -> list[dict[str, Any]]:
        """As JSON, the worst first; None where a value is not known."""
        return [
            {str(name): None if pd.isna(value) else value for name, value in row.items()}
            for row in self._rows.to_dict("records")
        ]


def worst_table(worst: Sequence[Mapping[str, Any]]) -> Table:
    """The objects as a table, numbered as their cut-outs are."""
    intervals = any(row.get("z_err68_low") is not None for row in worst)
    flagged = any(OUT_OF_DOMAIN in row for row in worst)
    magnitude = magnitude_of(worst[0]) if worst else R_MAGNITUDE
    columns = [
        Column("number", "", str),
        Column("object", "Partition : row", str, text=True),
        *(Column(name, title, number) for name, title in (("z_pred", "z_pred"), ("z_spec", "z_spec"))),
        Column("delta", "d", lambda value: f"{value:+.3f}"),
        Column(magnitude, title_of(magnitude), number),
        *([Column("interval", "95 % interval", str)] if intervals else []),
        *([Column("flag", "Out of domain", str, text=True)] if flagged else []),
    ]
    rows: list[Row] = [
        {
            **{name: row.get(name) for name in ("z_pred", "z_spec", "delta", magnitude)},
            "number": f"{place}",
            "object": f"{row['file']} : {row['index']}",
            "interval": _interval(row),
            "flag": "yes" if row.get(OUT_OF_DOMAIN) else "",
        }
        for place, row in enumerate(worst, 1)
    ]
    title = f"The {counted(len(worst), 'object that is', 'objects that are')} furthest off"
    return Table("worst", title, tuple(columns), rows, "")


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row.get("z_err95_low"), row.get("z_err95_high")
    return "none" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def worst_cutouts(store: Store, bucket: str, worst: Sequence[Mapping[str, Any]]) -> "Picture | None":
    """The objects in colour, or in grey where they have fewer than three bands, numbered as in the table.

    Returns:
        None where there are none, where their partitions are gone or changed, or are too large to be fetched for this.
    """
    try:
        images, bands = _images(store, bucket, worst)
    except CosmicError:
        return None  # a report without cut-outs is better than none
    if not images:
        return None
    # Here, because a catalogue needs the objects and no picture.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from tasks.reporting.composite import draw_colour, how
    from tasks.reporting.figures import STYLE, WIDTH, Picture, svg_of

    rows = -(-len(images) // _COLUMNS)
    figure = Figure(figsize=(WIDTH * 1.6, WIDTH * 1.6 * 1.16 * rows / _COLUMNS), layout="constrained")
    with mpl.rc_context(STYLE):
        panels = np.atleast_1d(figure.subplots(rows, _COLUMNS)).ravel()
        for place, (axes, row, image) in enumerate(zip_longest(panels, worst, images), 1):
            axes.set_axis_off()
            if image is not None:
                label = f"{place}: {row['z_pred']:.2f}, not {row['z_spec']:.2f}"
                draw_colour(axes, image, label, bands, y=1.0, fontsize=11)
        title = f"The {counted(len(images), 'object that is', 'objects that are')} furthest off, as cut-outs"
        svg = svg_of(figure, "worst", title)
    return Picture(svg, f"The same objects: {how(bands)}. Above each its redshift as predicted, and as measured.")


def _images(store: Store, bucket: str, worst: Sequence[Mapping[str, Any]]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """The cut-outs and their bands; none where they are not there, or partitions differ in bands."""
    stored = {key: store.head(bucket, key) for key in {row["file"] for row in worst}}
    there = {key: each for key, each in stored.items() if each is not None}
    if len(there) < len(stored) or not (store.is_local or sum(each.size for each in there.values()) <= _MOST_BYTES):
        return [], ()
    opened = {key: open_access(store, bucket, key, each, "memory-map") for key, each in there.items()}
    if any(row["index"] >= len(opened[row["file"]].images) for row in worst):
        return [], ()
    bands = {tuple(part.bands) for part in opened.values()}
    if len(bands) != 1:
        return [], ()
    images = [np.array(opened[row["file"]].images[row["index"] : row["index"] + 1][0]) for row in worst]
    return images, bands.pop()
