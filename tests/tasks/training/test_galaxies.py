import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput, BadPartition
from inference.partitions.partition import Partition
from tasks.training.galaxies import GalaxySet
from tests.support.surveys import random_survey

SURVEY = random_survey(60)


def set_of(sizes=(20, 1, 39), survey=SURVEY):
    ends = np.cumsum(sizes)
    parts = [tuple(array[end - size : end] for array in survey) for size, end in zip(sizes, ends, strict=True)]
    return GalaxySet([Partition(f"{n}.pt", *part) for n, part in enumerate(parts, 1)])


@given(st.lists(st.integers(0, 59), min_size=1, max_size=30))
def test_any_galaxies_are_at_hand_in_any_order(rows):
    galaxies = set_of()
    assert len(galaxies) == 60
    np.testing.assert_array_equal(galaxies.images(np.array(rows)), SURVEY[0][rows])
    np.testing.assert_array_equal(galaxies.magnitudes[rows], SURVEY[1][rows])


def test_redshifts_that_are_none_are_unknown():
    images, magnitudes, redshifts = (array.copy() for array in SURVEY)
    redshifts[[3, 25, 40]] = np.nan, -9999.0, np.inf
    galaxies = set_of(survey=(images, magnitudes, redshifts))
    assert np.flatnonzero(np.isnan(galaxies.redshifts)).tolist() == [3, 25, 40]
    without = GalaxySet([Partition("1.pt", images, magnitudes)])
    assert np.isnan(without.redshifts).all()


def test_unusable_galaxy_is_named_by_partition_and_sample():
    images, magnitudes, redshifts = (array.copy() for array in SURVEY)
    images[27, 2, 3, 4] = np.nan
    galaxies = set_of(survey=(images, magnitudes, redshifts))
    galaxies.images(np.arange(20))
    with pytest.raises(BadPartition, match=r"3.pt: sample 6 has NaN or infinite pixels"):
        galaxies.images(np.array([0, 20, 27, 30]))
    magnitudes[20, 0] = 1e300
    with pytest.raises(BadPartition, match=r"2.pt: sample 0 has an implausible magnitude: u is 1e\+300"):
        set_of(survey=(SURVEY[0], magnitudes, redshifts))


class TestASplit:
    def test_shares_every_galaxy_out_once(self):
        split = set_of().split(0.2, seed=1)
        assert (len(split.train), len(split.validation), len(split.test)) == (48, 6, 6)
        together = np.concatenate([split.train, split.validation, split.test])
        assert sorted(together.tolist()) == list(range(60))
        assert split.pretraining.tolist() == split.train.tolist()

    def test_split_trains_on_known_redshifts_and_pretrains_on_the_rest_too(self):
        images, magnitudes, redshifts = (array.copy() for array in SURVEY)
        redshifts[::2] = np.nan
        split = set_of(survey=(images, magnitudes, redshifts)).split(0.2, seed=1)
        assert np.isfinite(redshifts[np.concatenate([split.train, split.validation, split.test])]).all()
        assert len(split.pretraining) == 60 - 6
        assert not set(split.pretraining) & {*split.validation, *split.test}

    def test_is_the_same_for_the_same_seed_only(self):
        first, again, other = (set_of().split(0.2, seed) for seed in (1, 1, 2))
        assert first.test.tolist() == again.test.tolist() != other.test.tolist()

    def test_does_not_depend_on_how_galaxies_are_cut_into_partitions(self):
        assert set_of((60,)).split(0.3, 5).test.tolist() == set_of((1, 59)).split(0.3, 5).test.tolist()

    def test_of_too_few_is_refused(self):
        with pytest.raises(BadInput, match="9 galaxies have a spectroscopic redshift; at least 10 are needed"):
            set_of((9,), tuple(array[:9] for array in SURVEY)).split(0.2, 1)
