import dataclasses
import json

import pytest

from inference.contract.rank_result import RankResult
from inference.errors import BadInput
from tests.support.wire_examples import RESULT


def test_from_wire_keeps_once_what_many_ranks_share():
    one, other = (RankResult.from_wire(json.loads(json.dumps(RESULT.to_wire()))) for _ in range(2))
    assert one == other == RESULT
    for name in ("result_path", "device", "engine", "precision", "model_sha256", "worker"):
        assert getattr(one, name) is getattr(other, name), name


def test_bits_are_those_of_the_galaxies_own_bands_and_pixels():
    other = dataclasses.replace(RESULT, bits_per_sample=8 * 3 * (4 * 64 * 64 + 8))
    wire = other.to_wire()
    assert RankResult.from_wire(json.loads(json.dumps(wire))) == other
    assert wire["total_image_memory (MB)"] * 8e6 == pytest.approx(other.samples * 393_408)
    assert wire["throughput_bps"] == pytest.approx(other.bits / other.wall_loop_s)
    assert "bits_per_sample" not in RESULT.to_wire(), "the usual one is known"


def test_a_result_whose_galaxies_have_no_bits_is_refused():
    with pytest.raises(BadInput, match="the rank result counts no bits of a sample"):
        RankResult.from_wire(RESULT.to_wire() | {"bits_per_sample": 0})
