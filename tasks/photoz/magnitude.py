"""The magnitude that goes with each redshift: of the band r, or of the survey's own where it has no r."""

from collections.abc import Iterable

from inference.contract.survey_facts import MAGNITUDE_PREFIX, R_MAGNITUDE


def magnitude_of(columns: Iterable[object]) -> str:
    """The column of the magnitude among those of a table of redshifts; `mag_r` where there is none.

    >>> magnitude_of(["z_pred", "mag_i"])
    'mag_i'
    """
    return next((str(name) for name in columns if str(name).startswith(MAGNITUDE_PREFIX)), R_MAGNITUDE)


def title_of(column: str) -> str:
    """What a label calls it.

    >>> title_of("mag_r")
    'r magnitude'
    """
    return f"{column.removeprefix(MAGNITUDE_PREFIX)} magnitude"


def with_article(band: str) -> str:
    """What a sentence calls it.

    >>> with_article("r"), with_article("g")
    ('an r magnitude', 'a magnitude in g')
    """
    return "an r magnitude" if band == "r" else f"a magnitude in {band}"


def fact_of(column: str) -> dict[str, str]:
    """What a calibration keeps of the band: its name where it is not r."""
    return {} if column == R_MAGNITUDE else {"magnitude": column.removeprefix(MAGNITUDE_PREFIX)}
