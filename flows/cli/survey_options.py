"""The options that say what somebody's table and images hold, the same for every command that reads them."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import BadInput

if TYPE_CHECKING:
    from tasks.survey.columns import ColumnOptions
    from tasks.survey.cutouts import PixelOptions

_HELP = {
    "id": "of the object's id (default object_id, objid, ...)",
    "ra": "of the right ascension in degrees (default ra, RA_ICRS, ...)",
    "dec": "of the declination in degrees (default dec, DE_ICRS, ...)",
    "redshift": "of the spectroscopic redshift (default z_spec, redshift, ..., or none)",
    "prediction": "of the predicted redshift (default z_pred, z_phot, ...)",
}


def add_column_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add `--NAME COLUMN` for some of id, ra, dec, redshift and prediction, and `--magnitudes` and `--hdu`."""
    columns = parser.add_argument_group("columns", "names as the table has them; without these, customary names count")
    for name in names:
        columns.add_argument(f"--{name}", metavar="COLUMN", help=_HELP[name])
    columns.add_argument(
        "--magnitudes", metavar="U,G,R,I,Z", help="five columns of AB magnitudes, or one of five values a row"
    )
    columns.add_argument("--hdu", metavar="HDU", help="which table: an HDU's number or name, a group of HDF5")


def column_options(args: argparse.Namespace) -> "ColumnOptions":
    """What `add_column_options` asked for."""
    from tasks.survey.columns import ColumnOptions

    given = {name: getattr(args, name, None) for name in _HELP}
    magnitudes = None if args.magnitudes is None else [name.strip() for name in args.magnitudes.split(",")]
    return ColumnOptions(object_id=given.pop("id"), magnitudes=magnitudes, hdu=args.hdu, **given)


def add_pixel_options(parser: argparse.ArgumentParser) -> None:
    """Add `--unit`, `--bands`, `--ext`, `--scale` and `--take-blank`."""
    images = parser.add_argument_group("images", "where the files do not say it, or say it wrongly")
    images.add_argument("--unit", metavar="UNIT", help="of the pixels, as nanomaggy or uJy")
    images.add_argument("--bands", metavar="ORDER", help="of a cube's planes, as ugriz")
    images.add_argument("--ext", metavar="EXT", help="which image of a file: its EXTNAME or number")
    images.add_argument(
        "--scale", type=float, metavar="ARCSEC", help="of a pixel that the model was trained on (default 0.396, SDSS)"
    )
    images.add_argument(
        "--model", type=Path, metavar="FILE", help="weights (.safetensors) whose header says that scale"
    )
    images.add_argument("--take-blank", action="store_true", help="take images with a band that holds nothing")


def pixel_options(args: argparse.Namespace) -> "PixelOptions":
    """What `add_pixel_options` asked for.

    Raises:
        BadInput: no bands, no unit of flux, no scale, or a model that does not say its own.
    """
    from inference.contract.sample import BAND_NAMES
    from tasks.survey.cutouts import PixelOptions
    from tasks.survey.sky import SCALE
    from tasks.survey.units import nanomaggies

    if args.bands is not None and not set(BAND_NAMES) <= set(args.bands.lower()):
        raise BadInput(f"--bands must name u, g, r, i and z in the order of the planes, not {args.bands!r:.40}")
    if args.unit is not None:
        nanomaggies(args.unit, "--unit")
    scale = args.scale
    if scale is None and args.model is not None:
        from inference.model.checkpoint import read_header

        _, training_data = read_header(args.model)
        scale = None if training_data is None else training_data.pixel_scale
        if scale is None:
            raise BadInput(f"{args.model} does not say on which pixels it was trained: name their width with --scale")
    scale = SCALE if scale is None else scale
    if not (math.isfinite(scale) and 0 < scale < 3600):
        raise BadInput(f"--scale must be arcseconds a pixel, not {args.scale}")
    return PixelOptions(args.unit, args.bands, args.ext, scale, args.take_blank)
