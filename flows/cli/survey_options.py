"""The options that say what somebody's table and images hold, the same for every command that reads them."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import BadInput

if TYPE_CHECKING:
    from inference.contract.survey_facts import SurveyFacts
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
        "--magnitudes",
        metavar="U,G,R,I,Z",
        help="a column of AB magnitudes for each band, or one of as many values a row",
    )
    columns.add_argument("--hdu", metavar="HDU", help="which table: an HDU's number or name, a group of HDF5")


def column_options(args: argparse.Namespace) -> "ColumnOptions":
    """What `add_column_options` asked for."""
    from tasks.survey.columns import ColumnOptions

    given = {name: getattr(args, name, None) for name in _HELP}
    magnitudes = None if args.magnitudes is None else [name.strip() for name in args.magnitudes.split(",")]
    return ColumnOptions(object_id=given.pop("id"), magnitudes=magnitudes, hdu=args.hdu, **given)


def add_pixel_options(parser: argparse.ArgumentParser) -> None:
    """Add `--unit`, `--bands`, `--take`, `--cutout`, `--ext`, `--scale`, `--model` and `--take-blank`."""
    images = parser.add_argument_group("images", "where the files do not say it, or say it wrongly")
    images.add_argument("--unit", metavar="UNIT", help="of the pixels, as nanomaggy, uJy, zp=25 or zp=CARD")
    images.add_argument("--bands", metavar="ORDER", help="of a cube's planes, as zirgu")
    images.add_argument(
        "--take",
        metavar="BANDS",
        help="bands that the partitions get, as griz or g,r,z (default those of --model; else u g r i z, or what"
        " --bands has of them)",
    )
    images.add_argument(
        "--cutout", type=int, metavar="N", help="pixels a side that they get (default as --model has them, else 32)"
    )
    images.add_argument("--ext", metavar="EXT", help="which image of a file: its EXTNAME or number")
    images.add_argument(
        "--scale", type=float, metavar="ARCSEC", help="of a pixel that the model was trained on (default 0.396, SDSS)"
    )
    images.add_argument(
        "--model", type=Path, metavar="FILE", help="weights whose header says bands, size and that scale"
    )
    images.add_argument("--take-blank", action="store_true", help="take images with a band that holds nothing")


def pixel_options(args: argparse.Namespace) -> "PixelOptions":
    """What `add_pixel_options` asked for.

    Raises:
        BadInput: no bands, no unit of flux, no scale, no size, or a model that does not say its own.
    """
    from tasks.survey.band_names import USUAL, by_wavelength, checked_bands
    from tasks.survey.cutouts import PixelOptions
    from tasks.survey.sky import SCALE
    from tasks.survey.units import nanomaggies
    from tasks.survey.zero_points import card_of

    planes = None if args.bands is None else checked_bands(args.bands, "--bands")
    take = None if args.take is None else checked_bands(args.take, "--take")
    if args.unit is not None and card_of(args.unit) is None:
        nanomaggies(args.unit, "--unit")
    scale, side = args.scale, args.cutout
    if side is not None and not 8 <= side <= 1024:
        raise BadInput(f"--cutout must be from 8 to 1024 pixels a side, not {side}")
    if args.model is not None:
        facts = _facts_of_model(args.model)
        scale = facts.pixel_scale if scale is None else scale
        take = facts.bands if take is None else take
        side = facts.image_shape[1] if side is None else side
        if scale is None:
            raise BadInput(f"{args.model} does not say on which pixels it was trained: name their width with --scale")
    if take is None and planes is not None and not set(USUAL) <= set(planes):
        take = by_wavelength(planes)
    if take is not None and planes is not None and not set(take) <= set(planes):
        raise BadInput(f"--bands names {' '.join(planes)} and the partitions are to get {' '.join(take)}")
    scale = SCALE if scale is None else scale
    if not (math.isfinite(scale) and 0 < scale < 3600):
        raise BadInput(f"--scale must be arcseconds a pixel, not {args.scale}")
    model = str(args.model) if args.model is not None and args.scale is None else None
    return PixelOptions(
        args.unit, args.bands, args.ext, scale, args.take_blank, take, side, model, args.scale is not None
    )


def _facts_of_model(path: Path) -> "SurveyFacts":
    """What a checkpoint or an `.onnx` file says of its galaxies.

    Raises:
        BadInput: it is neither, damaged, or takes another number of bands than five and does not name them.
    """
    from dataclasses import replace

    from inference.contract.sample import BANDS
    from inference.contract.survey_facts import SurveyFacts
    from inference.model.onnx_file import is_onnx_file

    if is_onnx_file(path):
        from tasks.staging.own_model import look_at_own_model

        own = look_at_own_model(path)
        (bands, side, _), trained = own.image_shape, own.training_data
    else:
        from inference.model.checkpoint import read_header

        config, trained = read_header(path)
        bands, side = config.bands, config.image_size
    facts = SurveyFacts() if trained is None else trained
    if facts.bands is None and bands != BANDS:
        raise BadInput(f"{path} takes {bands} bands and does not name them: say --take")
    return replace(facts, image_size=side)
