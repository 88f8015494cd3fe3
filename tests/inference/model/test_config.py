import dataclasses
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from inference.model.config import SMALL, AstroMAEConfig
from tests.support.models import DEPLOYED, KINDS

FIELDS = [field.name for field in dataclasses.fields(AstroMAEConfig)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_the_default_joins_3216_features():
    assert AstroMAEConfig().features == 3216


@pytest.mark.parametrize("config", [AstroMAEConfig(), SMALL, DEPLOYED, *KINDS.values()])
def test_a_config_survives_json(config):
    assert AstroMAEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_fields_that_are_left_out_have_their_defaults():
    assert AstroMAEConfig.from_dict({"depth": 4}) == AstroMAEConfig(depth=4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field.name, value) for field in dataclasses.fields(AstroMAEConfig) if field.type is int
          for value in (0, -1, 10**9, 2.0, "3", True, None)],
        ("heads", 5),
        ("patch", 7),
        ("image_size", 36),
        ("patch", 64),
        ("class_token", 1),
        ("qkv_bias", "both"),
        ("qkv_bias", ["joint"]),
        ("norm_eps", 0),
        ("norm_eps", math.nan),
        ("norm_eps", "1e-6"),
        ("head_norm_eps", 0),
        ("head_norm_eps", "1e-6"),
        ("mlp_ratio", 0.0),
        ("mlp_ratio", math.inf),
        ("mlp_ratio", 4.001),
        ("mlp_ratio", 1e9),
        ("convolution_ratio", -1),
        ("convolution_ratio", math.nan),
        ("inception_widths", (16, 16, 8, 8)),
        ("inception_widths", (16, 16, 8, 8, 0)),
        ("inception_widths", 16),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field, value):
    with pytest.raises(BadInput, match=field):
        AstroMAEConfig.from_dict({field: value})


def test_a_ratio_read_from_shapes_gives_their_width_back():
    assert [AstroMAEConfig(mlp_ratio=hidden / 192).mlp_hidden for hidden in range(1, 999)] == list(range(1, 999))


@pytest.mark.parametrize(("ratio", "groups"), [(1.0, 5), (0.5, 64)])
def test_groups_must_divide_the_channels_of_both_convolutions(ratio, groups):
    with pytest.raises(BadInput, match="convolution_groups"):
        AstroMAEConfig(convolution_ratio=ratio, convolution_groups=groups)


def test_more_patches_than_attention_could_bear_are_refused():
    with pytest.raises(BadInput, match="patch 1 makes 262144 patches"):
        AstroMAEConfig(image_size=512, patch=1)


def test_unknown_fields_are_refused_by_name():
    with pytest.raises(BadInput, match="'colour, widht'"):
        AstroMAEConfig.from_dict({"widht": 192, "colour": 1})


@pytest.mark.parametrize("document", [None, [], "config", 3])
def test_a_config_that_is_no_object_is_refused(document):
    with pytest.raises(BadInput, match="must be an object"):
        AstroMAEConfig.from_dict(document)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_document_is_either_a_config_or_refused_in_one_sentence(document):
    try:
        AstroMAEConfig.from_dict(document)
    except BadInput as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300


def test_reading_a_config_needs_no_torch():
    code = "import sys, inference.model.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
