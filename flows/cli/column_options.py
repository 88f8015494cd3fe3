"""The options that say which column of a table is which, the same for every command that reads one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.survey.columns import ColumnOptions

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
