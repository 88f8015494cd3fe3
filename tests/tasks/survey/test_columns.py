import re
import shlex

import pytest

from inference.contract.sample import BAND_NAMES as BANDS
from inference.errors import BadInput
from tasks.survey.column_names import DEC, MAGNITUDES, OBJECT_ID, PREDICTION, RA, REDSHIFT
from tasks.survey.columns import Resolver


def resolver(*names, **options):
    return Resolver("t.csv", names, **options)


def five(pattern, bands=BANDS):
    return [pattern.format(band) for band in bands]


EVERY = [OBJECT_ID, RA, DEC, REDSHIFT, PREDICTION]


@pytest.mark.parametrize("wanted", EVERY, ids=lambda wanted: wanted.what)
class TestFind:
    def test_find_takes_each_customary_name_in_any_case(self, wanted):
        for name in wanted.names:
            for spelled in (name, name.upper(), name.lower()):
                found = resolver("other", spelled)
                assert found.find(wanted) == spelled
                assert found.used == {wanted.what: spelled}

    def test_find_takes_the_exact_name_before_a_folded_one(self, wanted):
        name = wanted.names[0]
        assert resolver(name.upper(), name, name.title()).find(wanted) == name

    def test_find_refuses_two_that_differ_in_case_alone(self, wanted):
        one, other = wanted.names[0].upper(), wanted.names[0].title()
        with pytest.raises(BadInput, match=rf"t.csv has {one} and {other}, .* choose with {wanted.option}"):
            resolver(one, other).find(wanted)
        assert resolver(one, other).find(wanted, other) == other

    def test_find_needs_no_choice_between_columns_of_the_same_values(self, wanted):
        one, other = wanted.names[0].upper(), wanted.names[0].title()
        assert resolver(one, other, same=lambda *_: True).find(wanted) == one

    def test_find_takes_the_name_asked_for_or_says_what_is_there(self, wanted):
        assert resolver("mine", wanted.names[0]).find(wanted, "mine") == "mine"
        assert resolver("MINE", wanted.names[0]).find(wanted, "mine") == "MINE"
        with pytest.raises(BadInput, match=rf"t.csv has no column 'yours' \({wanted.option}\); it has mine"):
            resolver("mine").find(wanted, "yours")
        with pytest.raises(BadInput, match=r"has MINE and Mine: write the name"):
            resolver("MINE", "Mine").find(wanted, "mine")

    def test_optional_says_what_was_not_found(self, wanted):
        found = resolver("other")
        assert found.optional(wanted) is None
        assert found.notes == [f"no column for the {wanted.what} was found: {wanted.option} names one"]
        with pytest.raises(BadInput, match=f"no column for the {wanted.what}: name it with {wanted.option}"):
            found.required(wanted)


def test_find_refuses_two_customary_names_of_a_redshift():
    with pytest.raises(BadInput, match=r"has z_pred and z_phot, .* could be the predicted redshift: .*--prediction"):
        resolver("z_phot", "z_pred", "z_spec").find(PREDICTION)
    with pytest.raises(BadInput, match="photoz_best, photoz_mode and photoz_mean"):
        resolver("photoz_mean", "photoz_best", "photoz_mode").find(PREDICTION)


def test_required_offers_columns_that_may_be_redshifts():
    with pytest.raises(BadInput, match="with --prediction; perhaps --prediction zp or --prediction 'my z'; it has"):
        resolver("id", "z_spec", "zp", "my z", used={"redshift": "z_spec"}).required(PREDICTION)
    with pytest.raises(BadInput, match="with --id; it has"):
        resolver("zp").required(OBJECT_ID)


def test_find_ranks_names_of_an_object():
    assert resolver("specobjid", "objid", "id").find(OBJECT_ID) == "objid"
    assert resolver("RAJ2000", "_RAJ2000").find(RA) == "_RAJ2000"


class TestMagnitudes:
    @pytest.mark.parametrize("pattern", MAGNITUDES)
    def test_magnitudes_are_found_under_each_pattern_in_any_case(self, pattern):
        for names in (five(pattern), five(pattern.upper()), five(pattern, BANDS.upper())):
            found = resolver("objid", *reversed(names))
            assert found.magnitudes() == (names, None)
            assert found.used == {f"{band} magnitude": name for band, name in zip(BANDS, names, strict=True)}

    def test_magnitudes_in_the_exact_case_come_before_others(self):
        assert resolver(*"UBVRI", *"ugriz").magnitudes()[0] == list("ugriz")
        found = resolver(*"ugriz", "Z")
        found.magnitudes()
        assert found.redshift(is_redshift=lambda name: True) == "Z"

    def test_magnitudes_are_all_in_one_spelling(self):
        with pytest.raises(BadInput, match="no columns for the magnitudes"):
            resolver(*"ugriZ").magnitudes()

    def test_magnitudes_in_two_spellings_are_a_choice(self):
        names = [*five("MODELMAG_{}"), *five("ModelMag_{}")]
        with pytest.raises(BadInput, match=r"MODELMAG_u ... MODELMAG_z and ModelMag_u .* choose with --magnitudes"):
            resolver(*names).magnitudes()
        assert resolver(*names).magnitudes(five("ModelMag_{}"))[0] == five("ModelMag_{}")

    def test_magnitudes_of_several_kinds_are_taken_in_order_and_named(self):
        found = resolver(*five("psfMag_{}"), *five("modelMag_{}"))
        assert found.magnitudes()[0] == five("modelMag_{}")
        assert found.notes == ["psfMag_u ... psfMag_z could be the magnitudes too: --magnitudes takes others"]

    @pytest.mark.parametrize(("length", "first"), [(5, 0), (7, 2)])
    def test_magnitudes_may_be_a_column_of_vectors(self, length, first):
        names = [f"MODELMAG[{number}]" for number in range(length)]
        wanted = names[first : first + 5]
        assert resolver("OBJID", *names).magnitudes() == (wanted, None)
        others = [f"MINE[{number}]" for number in range(length)]
        assert resolver(*others).magnitudes(["mine"])[0] == others[first : first + 5]

    def test_magnitudes_are_computed_from_fluxes_where_there_are_none(self):
        found = resolver(*five("flux_{}"))
        assert found.magnitudes() == (five("flux_{}"), "nanomaggy")
        assert found.notes == [
            "magnitudes are computed from flux_u ... flux_z, taken as nanomaggy where no unit is stated"
        ]
        assert resolver(*five("flux_{}"), *five("mag_{}")).magnitudes() == (five("mag_{}"), None)

    def test_magnitudes_that_lack_a_band_say_which(self):
        with pytest.raises(BadInput, match=r"magnitudes in g r z \(mag_g, ...\) and none in u i: the model takes u g"):
            resolver("mag_g", "mag_r", "mag_z").magnitudes()

    @pytest.mark.parametrize(
        "pattern",
        ["psf_mag_{}", "{}' [mag]", "sdss_{}_mag", "magnitude_{}", "{}_AB", "mag.{}", "${}$", "m_{}", "MAG_APER_{}"],
    )
    def test_magnitudes_under_names_alike_are_taken_and_said(self, pattern):
        found = resolver("objid", "z_spec", *five("psf_magerr_{}"), *five(pattern))
        assert found.magnitudes() == (five(pattern), None)
        assert found.notes == [
            f"magnitudes from {pattern.format('u')} ... {pattern.format('z')}, by what their names have in common"
        ]

    def test_magnitudes_of_two_names_alike_are_a_choice(self):
        with pytest.raises(BadInput, match=r"choose with --magnitudes psf_mag_u,.*,psf_mag_z or model_mag_u,.*_mag_z$"):
            resolver(*five("psf_mag_{}"), *five("model_mag_{}")).magnitudes()

    @pytest.mark.parametrize("pattern", ["LSST_{}", "{}_cmodel", "{}' x"])
    def test_magnitudes_that_may_be_others_are_offered(self, pattern):
        offered = re.escape(shlex.quote(",".join(five(pattern))))
        with pytest.raises(BadInput, match=rf"name them, as --magnitudes {offered}; it has"):
            resolver(*five("err_{}"), *five(pattern)).magnitudes()

    def test_magnitudes_with_their_unit_in_brackets_are_known(self):
        found = resolver("Object ID", "RA [deg]", "z-spec", *five("mag_{} (AB)"), *five("MODELMAG[{}]", range(5)))
        assert found.magnitudes() == (five("mag_{} (AB)"), None)
        wanted = [found.find(each) for each in (OBJECT_ID, RA, REDSHIFT)]
        assert wanted == ["Object ID", "RA [deg]", "z-spec"]

    def test_magnitudes_asked_for_must_be_five_that_are_there(self):
        with pytest.raises(BadInput, match=r"has no column 'b' \(--magnitudes\)"):
            resolver(*"acdef").magnitudes(list("abcde"))
        with pytest.raises(BadInput, match="must name five columns"):
            resolver(*"abcd").magnitudes(list("abcd"))


class TestRedshift:
    def test_redshift_is_z_where_it_is_no_band(self):
        found = resolver("z", *five("modelMag_{}"))
        found.magnitudes()
        assert found.redshift(is_redshift=lambda name: True) == "z"

    def test_redshift_is_not_z_where_it_is_a_band_or_holds_no_redshifts(self):
        found = resolver(*"ugriz")
        found.magnitudes()
        assert found.redshift(is_redshift=lambda name: True) is None
        assert "no column for the redshift was found: --redshift names one" in found.notes
        assert resolver("Z").redshift(is_redshift=lambda name: False) is None

    def test_redshift_of_z_and_Z_is_a_choice(self):
        with pytest.raises(BadInput, match="has z and Z, each of which could be the redshift: choose with --redshift"):
            resolver("z", "Z").redshift(is_redshift=lambda name: True)
