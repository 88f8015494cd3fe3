"""A rank's redshifts as they lie under `predictions/`: a safetensors file, light to write and safe to read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from inference.contract.json_text import parse_json
from inference.contract.rank_event import RankEvent
from inference.contract.survey_facts import MAGNITUDE_PREFIX, R_MAGNITUDE
from inference.contract.validation import shorten
from inference.errors import BadInput

COLUMNS = {"file": np.int32, "index": np.int64, "z_pred": np.float32, "z_spec": np.float64, R_MAGNITUDE: np.float32}
_MAGNITUDE = re.compile(f"{MAGNITUDE_PREFIX}[A-Za-z0-9_]{{1,40}}")
# Names of further columns; those of the table itself are reserved.
_MORE = re.compile(r"(?!(?:rank|repeat|mag_.*|z_err(?:68|95)_(?:low|high))$)[A-Za-z0-9_]{1,60}")
_NUMBERS = "fiub"  # kinds of their types


@dataclass
class Predictions:
    """Redshifts in the order in which they were computed.

    Attributes:
        files: keys of the partitions.
        parts: per batch, arrays of equal length: `file` (index into `files`), `index` (sample in the file), `z_pred`,
            `z_spec` and `magnitude` (NaN where not known); further columns of the model, (B,) or (B, K).
        magnitude: what the column of the magnitude is called, `mag_r` where the band is r.
    """

    files: list[str] = field(default_factory=list)
    parts: list[dict[str, np.ndarray]] = field(default_factory=list)
    magnitude: str = R_MAGNITUDE

    @property
    def samples(self) -> int:
        """Galaxies so far."""
        return sum(len(part["index"]) for part in self.parts)

    def add(
        self,
        file: str,
        start: int,
        z_pred: np.ndarray,
        z_spec: np.ndarray | None,
        magnitude: np.ndarray | None = None,
        more: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Append one batch: redshifts and magnitudes, (B,), of the samples `start` .. of `file`; further columns."""
        if file not in self.files[-1:]:
            self.files.append(file)
        count = len(z_pred)
        columns: dict[str, np.ndarray] = {
            "file": np.full(count, len(self.files) - 1, np.int32),
            "index": np.arange(start, start + count, dtype=np.int64),
            "z_pred": z_pred.astype(np.float32),
            "z_spec": np.full(count, np.nan) if z_spec is None else z_spec.astype(np.float64).reshape(count),
            self.magnitude: np.full(count, np.nan, np.float32) if magnitude is None else magnitude.astype(np.float32),
        }
        self.parts.append(dict(more or {}) | columns)

    def encode(self, rank: RankEvent) -> bytes:
        """The file's bytes, with the rank's fingerprint and the model's hash in the header."""
        columns = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        facts = {"fingerprint": rank.fingerprint, "model_sha256": rank.model_sha256}
        facts |= {} if self.magnitude == R_MAGNITUDE else {"magnitude": self.magnitude}
        return save(columns, metadata=facts | {"files": json.dumps(self.files)})


def decode(data: bytes, name: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read a predictions file back: the partitions' keys and the columns; files of older versions have no mag_r.

    Raises:
        BadInput: naming the file: truncated, no safetensors, other columns or types.
    """
    try:
        columns = load(data)
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")], "its header")
        files = parse_json(header["__metadata__"]["files"], "its list of files")
        magnitude = header["__metadata__"].get("magnitude", R_MAGNITUDE)
    except (SafetensorError, BadInput, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{name} is not a predictions file: {error}") from None
    if not isinstance(files, list) or not all(isinstance(file, str) and file.isprintable() for file in files):
        raise BadInput(f"{name} holds no list of the files that it is about")
    if not isinstance(magnitude, str) or not _MAGNITUDE.fullmatch(magnitude):
        raise BadInput(f"{name} calls the column of the magnitude {shorten(magnitude)}, which is no name of one")
    ours = {magnitude if column == R_MAGNITUDE else column: kind for column, kind in COLUMNS.items()}
    if set(ours) - set(columns) == {R_MAGNITUDE}:
        columns[R_MAGNITUDE] = np.full(columns["z_pred"].shape, np.nan, np.float32)
    if {column: array.dtype for column, array in columns.items() if column in ours} != ours:
        raise BadInput(f"{name} lacks one of the columns {', '.join(ours)}, or it is of another type")
    for column, array in columns.items():
        if not (column in ours or _MORE.fullmatch(column)) or array.dtype.kind not in _NUMBERS:
            raise BadInput(f"{name} holds the column {shorten(column)}, which is not one of numbers")
        if array.shape[:1] != (columns["file"].size,) or array.ndim > 1 + (column not in ours) or not array.size:
            raise BadInput(f"{name} holds no rows, or columns that differ in length")
    if not 0 <= columns["file"].min() <= columns["file"].max() < len(files):
        raise BadInput(f"{name} names a file that it does not list")
    return files, columns
