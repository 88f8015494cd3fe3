"""What each column of a catalogue means: description, UCD (UCD1+ 1.5, IVOA 2023) and unit."""

from typing import NamedTuple

from inference.contract.survey_facts import MAGNITUDE_PREFIX
from inference.engines.columns import OUT_OF_DOMAIN
from tasks.photoz.magnitude import title_of
from tasks.photoz.metrics import OUTLIER


class Field(NamedTuple):
    """What a column is."""

    description: str
    ucd: str
    unit: str = ""


FIELDS = {
    "object_id": Field("Identifier of the object", "meta.id;meta.main"),
    "ra": Field("Right ascension, ICRS", "pos.eq.ra;meta.main", "deg"),
    "dec": Field("Declination, ICRS", "pos.eq.dec;meta.main", "deg"),
    "z_pred": Field("Photometric redshift, predicted by the model", "src.redshift.phot;meta.main"),
    **{
        f"z_err{level}_{end}": Field(
            f"{'Lower' if end == 'low' else 'Upper'} end of the {level} % interval of the redshift, null outside the"
            " calibrated range",
            f"stat.{'min' if end == 'low' else 'max'};src.redshift.phot",
        )
        for level in ("68", "95")
        for end in ("low", "high")
    },
    "z_spec": Field("Spectroscopic redshift, null where unknown", "src.redshift"),
    "delta": Field("(z_pred - z_spec) / (1 + z_spec)", "stat.fit.residual;src.redshift"),
    "outlier": Field(f"Whether abs(delta) > {OUTLIER:g}: 1 or 0, null where unknown", "meta.code.qual"),
    "mag_r": Field("r magnitude that the model was given, AB", "phot.mag;em.opt.R", "mag"),
    "partition": Field("Partition that held the cut-out", "meta.id;meta.file"),
    "row": Field("Row in the partition, from 0", "meta.record"),
}
OWN_FIELDS = {  # where the model gives them
    "z_err": Field("Standard deviation of the redshift, as the model gives it", "stat.stdev;src.redshift.phot"),
    "z_q16": Field("16 % quantile of the redshift, as the model gives it", "stat.rank;src.redshift.phot"),
    "z_q84": Field("84 % quantile of the redshift, as the model gives it", "stat.rank;src.redshift.phot"),
}
_MORE_FIELDS = {
    OUT_OF_DOMAIN: Field("Whether the galaxy is unlike those of the model's training: 1 or 0", "meta.code.qual"),
}
_BANDS = {"u": "em.opt.U", "g": "em.opt.B", "i": "em.opt.I", "z": "em.opt.I"}


def about(column: object) -> Field:
    """What a column of the catalogue is.

    >>> about("mag_i").ucd
    'phot.mag;em.opt.I'
    """
    name = str(column)
    known = FIELDS | OWN_FIELDS | _MORE_FIELDS
    if name in known:
        return known[name]
    band = _BANDS.get(name.removeprefix(MAGNITUDE_PREFIX))
    return Field(f"{title_of(name)} that the model was given", f"phot.mag;{band}" if band else "phot.mag", "mag")


PARTITION_FIELDS = {
    "key": Field("Key of the partition", "meta.id;meta.file"),
    "etag": Field("ETag of the partition when it was read", "meta.code"),
    "rows": Field("Rows of this catalogue that come from it", "meta.number"),
}
