"""The engine `onnxruntime` for a model of somebody's own: an `.onnx` file.

Which input is the image and which the magnitudes, and which output is the redshift, is decided by name or else by
shape; where neither decides, the file is refused. Quantiles whose levels are known give the columns `z_q16` and
`z_q84`, and their median the redshift where no output is one.
"""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract.json_text import parse_json
from inference.contract.sample import IMAGE_SHAPE
from inference.contract.survey_facts import MAGNITUDE_PREFIX
from inference.contract.validation import sanitize_text, shorten
from inference.engines.base import check_galaxies
from inference.engines.columns import ERROR, LOWER, OUT_OF_DOMAIN, REDSHIFT, UPPER
from inference.engines.onnx_session import open_session, parts_of
from inference.engines.quantiles import LEVELS_KEY, column_of_quantile, is_quantiles, quantile_at, read_levels
from inference.errors import BadCheckpoint, BadInput
from inference.model.training_data import TrainingData

_IMAGES = {"image", "images", "cutout", "cutouts"}
_MAGNITUDES = {"magnitude", "magnitudes", "mag", "mags"}
_REDSHIFTS = {"redshift", "redshifts", "z", REDSHIFT, "z_phot", "zphot", "photoz"}
_ERRORS = {ERROR, "sigma", "z_sigma", "sigma_z", "std", "z_std", "uncertainty"}
_TAKEN = {"rank", "file", "index", "z_spec", "repeat", OUT_OF_DOMAIN}
_TAKEN |= {f"z_err{level}_{end}" for level in ("68", "95") for end in ("low", "high")}
_DERIVED = {REDSHIFT: 0.5, LOWER: 0.16, UPPER: 0.84}  # from quantiles
_ONE_NUMBER = {REDSHIFT, ERROR, LOWER, UPPER}
_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
_NUMBERS = {*_FLOATS, *(f"tensor({kind})" for kind in ("int8", "int16", "int32", "int64", "uint8", "bool"))}
_ALIKE = 1e-3  # a galaxy's redshifts in two batches: they differ by rounding alone
_MOST_COLUMNS, _MOST_VALUES = 100, 4096  # outputs of a model, and values of one for a galaxy


class OnnxFileEngine:
    """Any model in onnxruntime that takes cut-outs, with or without magnitudes, and gives a redshift a galaxy.

    Attributes:
        image_shape: bands, height and width of the cut-outs: 5, 32 and 32 unless `training_data` names bands.
        gives_uncertainty: an output is a standard deviation, or quantiles are.
        training_data: of the file's metadata `training_data`, None where it has none.

    Args:
        path: the file, all weights inside.
        threads: how many parts of a batch are computed at a time.

    Raises:
        BadCheckpoint: onnxruntime cannot run it, or its inputs and outputs are not those of a photometric redshift.
    """

    name = "onnxruntime"
    device = "cpu"
    precision = "float32"
    precision_error = 0.0

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._session = path, open_session(path)
        metadata = self._session.get_modelmeta().custom_metadata_map
        facts = metadata.get("training_data")
        try:
            self.training_data = None if facts is None else TrainingData.from_dict(parse_json(facts, "its metadata"))
        except BadInput as error:
            raise BadCheckpoint(f"{path}: {error}") from None
        self.image_shape = _image_shape(self._session.get_inputs(), self.training_data)
        self._inputs = self._match_inputs()
        outputs = self._session.get_outputs()
        if not 0 < len(outputs) <= _MOST_COLUMNS:
            raise BadCheckpoint(f"{path} has {len(outputs)} outputs; 1 to {_MOST_COLUMNS} can be columns")
        for output in outputs:
            if output.type not in _NUMBERS:
                raise BadCheckpoint(
                    f"{path}: its output {shorten(output.name)} is {output.type}, not numbers that a column can hold:"
                    " cast it to float32, or leave it out"
                )
        names = [output.name for output in outputs]
        self._levels = self._match_quantiles(names, metadata.get(LEVELS_KEY))
        self._columns = self._name_columns(names)
        for column, output in zip(self._columns, outputs, strict=True):
            if column in {*_ONE_NUMBER, *self._levels} and output.type not in _FLOATS:
                raise BadCheckpoint(
                    f"{path}: its output {shorten(output.name)} is {output.type}, and a redshift and its uncertainty"
                    " are floating numbers"
                )
        self._try()
        self.gives_uncertainty = bool(self._levels) or ERROR in self._columns or {LOWER, UPPER} <= set(self._columns)
        self._pool = ThreadPoolExecutor(threads, "cosmic-engine") if threads > 1 else None

    def predict(self, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """See `inference.engines.base.Engine`."""
        return self.predict_columns(images, magnitudes)[REDSHIFT]

    def predict_columns(self, images: np.ndarray, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        """See `inference.engines.base.Engine`."""
        images, magnitudes = check_galaxies(self.image_shape, images, magnitudes)
        parts = parts_of(len(images))

        def compute(part: slice) -> list[np.ndarray]:
            return self._run(images[part], magnitudes[part])

        found = list(map(compute, parts) if self._pool is None else self._pool.map(compute, parts))
        found = found or [
            [values[:0] for values in self._run(np.zeros((1, *self.image_shape)), np.zeros((1, self.image_shape[0])))]
        ]
        columns = {
            name: np.concatenate(values) for name, values in zip(self._columns, zip(*found, strict=True), strict=True)
        }
        for quantiles, levels in self._levels.items():
            at = {column: level for column, level in _DERIVED.items() if column not in columns}
            columns |= {column: quantile_at(level, columns[quantiles], levels) for column, level in at.items()}
        return columns | {name: columns[name].astype(np.float32) for name in columns.keys() & _ONE_NUMBER}

    def _run(self, images: np.ndarray, magnitudes: np.ndarray) -> list[np.ndarray]:
        given = {"images": images, "magnitudes": magnitudes}
        feed = {name: given[what].astype(kind) for name, what, kind in self._inputs}
        found = self._session.run(None, feed)
        return [values.reshape(-1) if set(values.shape[1:]) == {1} else values for values in found]

    def _match_inputs(self) -> list[tuple[str, str, Any]]:
        """Each input's name, what goes into it, and its type."""
        shape, bands = self.image_shape, self.image_shape[0]
        matched: list[tuple[str, str, Any]] = []
        for entry in self._session.get_inputs():
            rank = len(entry.shape)
            what = "images" if rank == 4 else "magnitudes" if rank == 2 else None
            for named, names in (("images", _IMAGES), ("magnitudes", _MAGNITUDES)):
                if entry.name.lower() in names and what != named:
                    what = None
            wanted = (None, *shape) if what == "images" else (None, bands)
            if what is None or not _fits(entry.shape, wanted) or entry.type not in _FLOATS:
                raise BadCheckpoint(
                    f"{self._path}: its input {shorten(entry.name)} is {entry.type} {shorten(entry.shape)};"
                    f" images are floating (B, {str(shape)[1:-1]}) and magnitudes (B, {bands})"
                )
            if isinstance(entry.shape[0], int):
                raise BadCheckpoint(
                    f"{self._path}: its input {shorten(entry.name)} takes batches of {entry.shape[0]} only:"
                    " export it with a dynamic first dimension"
                )
            matched.append((entry.name, what, _FLOATS[entry.type]))
        if sorted(what for _, what, _ in matched) not in (["images"], ["images", "magnitudes"]):
            taken = ", ".join(f"{shorten(name)} ({what})" for name, what, _ in matched[:10]) or "nothing"
            raise BadCheckpoint(f"{self._path} takes {taken}: one image input is needed, and at most one of magnitudes")
        return matched

    def _match_quantiles(self, names: list[str], levels: str | None) -> dict[str, tuple[float, ...]]:
        """The column of the quantiles, with the level of each; none where the file does not say the levels."""
        found = [name for name in names if is_quantiles(name)]
        if levels is None and found == names:
            raise BadCheckpoint(
                f"{self._path} gives quantiles and does not say which: its metadata need {LEVELS_KEY}, a JSON list such"
                " as [0.16, 0.5, 0.84]"
            )
        if levels is None:
            return {}
        if len(found) != 1:
            raise BadCheckpoint(f"{self._path} has {LEVELS_KEY}, but not one output called quantiles")
        return {_plain(found[0]): read_levels(levels, self._path)}

    def _name_columns(self, names: list[str]) -> list[str]:
        """A column's name for each output; exactly one is the redshift."""
        redshifts = [name for name in names if name.lower() in _REDSHIFTS]
        if not redshifts and len(names) == 1 and not self._levels:
            redshifts = names
        if len(redshifts) != 1 and not (self._levels and not redshifts):
            raise BadCheckpoint(
                f"{self._path} has the outputs {', '.join(map(shorten, names[:10]))}: one must be called redshift,"
                " and one alone"
            )
        columns: list[str] = []
        for name in names:
            column = column_of_quantile(name) or (ERROR if name.lower() in _ERRORS else _plain(name))
            column = REDSHIFT if name in redshifts else column
            if (
                column.lower() in {*_TAKEN, *(each.lower() for each in columns)}
                or column.lower().startswith(MAGNITUDE_PREFIX)
                or not column.strip("_")
            ):
                raise BadCheckpoint(f"{self._path}: rename its output {shorten(name)}, which cannot be a column's name")
            columns.append(column)
        return columns

    def _try(self) -> None:
        """Two batches of different size: each output has a row a galaxy, and a galaxy's redshift is its own."""
        rng = np.random.default_rng(0)
        images, magnitudes = rng.normal(size=(3, *self.image_shape)), rng.uniform(15, 22, (3, self.image_shape[0]))
        redshifts: list[np.ndarray] = []
        for count in (2, 3):
            try:
                found = self._run(images[:count], magnitudes[:count])
            except Exception as error:  # noqa: BLE001 - its errors have no common base
                reason = sanitize_text(error).split("\n", 1)[0]
                raise BadCheckpoint(f"{self._path} fails on a batch of {count} galaxies: {reason:.200}") from None
            for column, values in zip(self._columns, found, strict=True):
                many = 0 if column in _ONE_NUMBER else 1
                if values.ndim not in {1, 1 + many} or values.shape[0] != count or values.size > count * _MOST_VALUES:
                    raise BadCheckpoint(
                        f"{self._path}: its output for the column {column!r} has the shape {list(values.shape)} for"
                        f" {count} galaxies, not {'a number or a row' if many else 'one number'} for each"
                    )
                if column == REDSHIFT or column in self._levels:
                    redshifts.append(values[:2].astype(np.float64))
                levels = self._levels.get(column)
                if levels is not None and values.shape != (count, len(levels)):
                    raise BadCheckpoint(
                        f"{self._path} has {len(levels)} {LEVELS_KEY}, but quantiles {values.shape[1:]}"
                    )

        _check_order(self._path, dict(zip(self._columns, found, strict=True)), self._levels)
        if redshifts and not np.allclose(redshifts[0], redshifts[1], rtol=_ALIKE, atol=_ALIKE, equal_nan=True):
            raise BadCheckpoint(
                f"{self._path} gives the same galaxies other redshifts in another batch, and a redshift must depend on"
                " its galaxy alone: export it in evaluation mode (model.eval())"
            )


def _check_order(path: Path, columns: dict[str, np.ndarray], quantiles: Iterable[str]) -> None:
    """Refuse an uncertainty that is upside down for every galaxy that was tried."""
    if ERROR in columns and (columns[ERROR] < 0).all():
        raise BadCheckpoint(
            f"{path} gives a negative standard deviation for each galaxy that was tried: if it is the logarithm, export"
            " exp of it, or call the output log_sigma"
        )
    falling = [(np.diff(columns[name], axis=1) < 0).all() for name in quantiles]
    if {LOWER, UPPER} <= set(columns):
        falling.append((columns[LOWER] > columns[UPPER]).all())
    if any(falling):
        raise BadCheckpoint(
            f"{path} gives lower quantiles above higher ones for each galaxy that was tried: put them in ascending"
            " order"
        )


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII)[:60]


def _image_shape(inputs: list[Any], trained: TrainingData | None) -> tuple[int, int, int]:
    """The usual, or, where the file names its bands, as many of these in the size that the image input has fixed."""
    if trained is None or trained.bands is None:
        return IMAGE_SHAPE
    sizes = [entry.shape[2] for entry in inputs if len(entry.shape) == 4 and isinstance(entry.shape[2], int)]
    return replace(trained, image_size=sizes[0] if sizes else None).image_shape


def _fits(shape: list[Any], wanted: tuple[int | None, ...]) -> bool:
    """Whether the dimensions that are known are the wanted ones."""
    return all(
        not isinstance(size, int) or want is None or size == want for size, want in zip(shape, wanted, strict=True)
    )
