"""Customary names of columns: of ids, places, redshifts, magnitudes and fluxes, as surveys and tools have them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """A column that is looked for.

    Attributes:
        what: what it holds, as messages call it.
        option: the option that names it.
        names: customary names.
        ranked: the first name that is there counts, because the names are known to mean the same or to be in order of
            preference; otherwise two names that are there are two candidates.
    """

    what: str
    option: str
    names: tuple[str, ...]
    ranked: bool = False


OBJECT_ID = Wanted(
    "object id",
    "--id",
    (
        *("object_id", "ls_id", "objid", "obj_ID", "objectId", "id", "source_id", "name", "galaxy_id", "TARGETID"),
        *("COADD_OBJECT_ID", "QUICK_OBJECT_ID", "SDSS16", "SDSS12", "SDSS", "NSAID", "IAUNAME", "specobjid"),
        *("THING_ID", "CATAID", "SeqNr", "NUMBER", "recno"),
    ),
    ranked=True,
)
RA = Wanted(
    "right ascension",
    "--ra",
    (
        *("ra", "RA_ICRS", "_RAJ2000", "RAJ2000", "RA_J2000", "ALPHA_J2000", "ALPHAWIN_J2000", "ra_deg", "RAdeg"),
        *("coord_ra", "alpha", "right_ascension", "raMean", "TARGET_RA", "PLUG_RA", "X_WORLD"),
    ),
    ranked=True,
)
DEC = Wanted(
    "declination",
    "--dec",
    (
        *("dec", "DE_ICRS", "_DEJ2000", "DEJ2000", "DECJ2000", "DEC_J2000", "DELTA_J2000", "DELTAWIN_J2000", "dec_deg"),
        *("DEdeg", "coord_dec", "delta", "declination", "decMean", "TARGET_DEC", "PLUG_DEC", "Y_WORLD"),
    ),
    ranked=True,
)
REDSHIFT = Wanted(
    "redshift",
    "--redshift",
    (
        *("z_spec", "zspec", "spec_z", "specz", "z_sp", "zsp", "redshift", "specz_redshift"),
        *("z_true", "ztrue", "true_z", "redshift_true", "true_redshift", "redshift_spec", "z_cosmo"),
        *("spectroscopic_redshift", "spec_redshift", "z_spectroscopic", "y_true"),
    ),
)
PREDICTION = Wanted(
    "predicted redshift",
    "--prediction",
    (
        *("z_pred", "z_phot", "zphot", "phot_z", "photo_z", "photoz", "photz", "z_photo", "zph", "redshift_phot"),
        *("photoz_best", "photoz_mode", "photoz_median", "photoz_mean", "z_best", "z_mode", "zmode", "z_median"),
        *("z_phot_median", "z_phot_mean", "z_phot_best", "redshift_photo", "zpred", "zbest", "MU_PHOTZ"),
        *(
            "photometric_redshift",
            "phot_redshift",
            "predicted_redshift",
            "redshift_pred",
            "pred_z",
            "z_est",
            "z_estimate",
        ),
        *("DNF_Z", "DNF_ZMEAN", "BPZ_ZB", "MEAN_Z", "lp_zPDF", "z_photometric", "y_pred"),
        *("z_mean", "zmean", "z_b", "zb", "z_peak", "z_a", "z_ml", "zpdf", "ez_z_phot", "lp_zBEST"),
    ),
)
# The magnitudes are called all alike; the first pattern of which all bands are there counts.
MAGNITUDES = (
    *("mag_{}", "{}_mag", "dered_{}", "dered_mag_{}", "modelMag_{}", "cModelMag_{}", "psfMag_{}", "petroMag_{}"),
    *("fiberMag_{}", "deVMag_{}", "expMag_{}", "mag_model_{}", "mag_cmodel_{}", "mag_{}_dered", "gaap_mag_{}"),
    *("mag_{}_lsst", "mag_{}_cModel", "{}_cModelMag", "{}_psfMag", "{}_kronMag", "{}_cmodel_mag", "{}cmodel_mag"),
    *("{}_psfflux_mag", "{}_petro", "{}_psf", "{}_auto", "mag_auto_{}", "MAG_GAAP_{}", "{}_mag_auto", "mag_{}_auto"),
    *("{}mag", "{}PMag", "{}MeanPSFMag", "{}MeanKronMag", "{}MeanApMag", "{}KronMag", "{}PSFMag", "{}ModelMag"),
    *("mag_{}t", "{}_lsst", "sdss_{}", "{}SDSS", "{}"),
)
R_MAGNITUDE = Wanted(
    "r magnitude", "--magnitudes", tuple(pattern.format("r") for pattern in MAGNITUDES if pattern != "{}"), ranked=True
)
# Columns of several values a row, which `tasks.survey.table_file` calls NAME[0], NAME[1], ...
VECTORS = ("MODELMAG", "CMODELMAG", "PSFMAG", "PETROMAG", "MAG")
# Fluxes, where no magnitudes are found, and their unit where the file states none.
FLUXES = {
    **dict.fromkeys(("flux_{}", "modelFlux_{}", "cModelFlux_{}", "psfFlux_{}"), "nanomaggy"),
    **dict.fromkeys(("{}_cModelFlux", "{}_kronFlux", "{}_psfFlux", "{}_gaap1p0Flux"), "nJy"),  # as Rubin has them
    "maggies_{}": "maggy",
}
FLUX_VECTORS = ("MODELFLUX", "CMODELFLUX", "ELPETRO_FLUX", "SERSIC_FLUX", "PETROFLUX", "NMGY", "PSFFLUX")
