import dataclasses
import importlib
import io
import random
import re
import sys

import pytest
import safetensors
import torch
from torch import nn

from inference.errors import BadCheckpoint
from inference.model.checkpoint import load
from inference.model.config import AstroMAEConfig
from tasks.checkpoint_import.convert import import_checkpoint
from tests.support.legacy_modules import NEW, OLD, Patches, legacy_model, parallel, published_names, saved
from tests.support.models import CONVOLVED, TINY, random_galaxies

PUBLISHED_PLAIN = AstroMAEConfig()
PUBLISHED_CONVOLVED = AstroMAEConfig(qkv_bias="separate", convolution_ratio=4.0, convolution_groups=48)
LEGACY = {"_use_new_zipfile_serialization": False}
KINDS = {
    "plain": TINY,
    "no qkv bias": dataclasses.replace(TINY, qkv_bias="none"),
    "no class token": dataclasses.replace(TINY, class_token=False),
    "other sizes": dataclasses.replace(TINY, image_size=16, bands=4, patch=4, heads=2, norm_eps=1e-3),
    "convolved": CONVOLVED,
    "convolved, no bias": dataclasses.replace(CONVOLVED, qkv_bias="none"),
    "convolved, no class token": dataclasses.replace(
        CONVOLVED, class_token=False, convolution_ratio=0.5, convolution_groups=3
    ),
}


@pytest.fixture
def imported(tmp_path):
    """Import what was saved; return what was found and the model."""

    def run(data, heads=None):
        (tmp_path / "legacy.pt").write_bytes(data)
        found = import_checkpoint(tmp_path / "legacy.pt", tmp_path / "out.safetensors", heads)
        return found, load(tmp_path / "out.safetensors")

    return run


@pytest.fixture
def refused(tmp_path):
    """The sentence with which the import of something refuses; nothing is written then."""

    def run(thing, heads=None, **options):
        path = tmp_path / "legacy.pt"
        path.write_bytes(thing if isinstance(thing, bytes) else saved(thing, **options))
        with pytest.raises(BadCheckpoint) as caught:
            import_checkpoint(path, tmp_path / "out.safetensors", heads)
        assert list(tmp_path.iterdir()) == [path]
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) < 700
        return message.removeprefix(f"{path}: ")

    return run


def difference(original, model, count=8):
    images, magnitudes = map(torch.from_numpy, random_galaxies(model.config, count))
    with torch.inference_mode():
        redshifts = original([images, magnitudes])
        assert redshifts.std() > 1e-3, "a model that answers the same for every galaxy shows nothing"
        return (redshifts - model(images, magnitudes)).abs().max().item()


@pytest.mark.parametrize(("timm", "options"), [(NEW, {}), (OLD, LEGACY)], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_module_answers_as_the_original(kind, timm, options, imported):
    original = legacy_model(KINDS[kind], timm)
    found, model = imported(saved(parallel(original), timm, **options))
    assert found.config == model.config == KINDS[kind]
    assert found.notes == ()
    assert difference(original, model) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "kernel", "parameters"),
    [(PUBLISHED_PLAIN, 3, 15_801_513), (PUBLISHED_CONVOLVED, 1, 15_902_889)],
    ids=["plain encoder", "convolutions beside attention"],
)
def test_published_sizes_have_the_published_counts_and_answers(config, kernel, parameters, imported):
    original = legacy_model(config, kernel=kernel)
    found, model = imported(saved(parallel(original)))
    assert found.config == config
    assert found.parameters == parameters == sum(parameter.numel() for parameter in original.parameters())
    assert difference(original, model, 4) < 1e-6


def test_one_pixel_convolutions_are_stored_as_three_by_three(imported):
    original = legacy_model(CONVOLVED, kernel=1)
    found, model = imported(saved(parallel(original)))
    assert "1x1" in found.notes[0]
    assert found.parameters == sum(parameter.numel() for parameter in original.parameters())
    assert difference(original, model) < 1e-6


@pytest.mark.parametrize(
    ("config", "options"), [(TINY, LEGACY), (CONVOLVED, {})], ids=["plain, before torch 1.6", "convolved, zip"]
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model.state_dict(),
        lambda model: parallel(model).state_dict(),
        lambda model: {"state_dict": parallel(model).state_dict(), "epoch": 3, "best": 0.01},
        lambda model: {"model": model.state_dict(), "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
        lambda model: {"epoch": 3, "model": model},
        lambda model: {name: tensor.clone() for name, tensor in model.state_dict().items()},
        lambda model: dict(sorted(model.state_dict().items())),
        lambda model: model,
    ],
    ids=["state dict", "module.", "state_dict", "model", "module as model", "nothing shared", "sorted", "bare module"],
)
def test_state_dicts_and_wrapped_ones_answer_as_the_original(wrap, config, options, imported):
    original = legacy_model(config)
    found, model = imported(saved(wrap(original), **options), heads=config.heads)
    assert model.config == config
    assert difference(original, model) < 1e-6
    assert found.tensors_read + len(found.unused) == len(original.state_dict())


def test_a_sorted_state_dict_with_ten_layers_keeps_their_order(imported):
    config = dataclasses.replace(TINY, magnitude_layers=7, depth=11)
    original = legacy_model(config)
    _, model = imported(saved(dict(sorted(original.state_dict().items()))), heads=3)
    assert difference(original, model) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_a_shuffled_state_dict_is_understood_by_its_numbers(seed, imported):
    original = legacy_model(dataclasses.replace(CONVOLVED, mlp_ratio=1.0))
    items = list(original.state_dict().items())
    random.Random(seed).shuffle(items)
    _, model = imported(saved(dict(items)), heads=3)
    assert difference(original, model) < 1e-6


def test_what_a_state_dict_does_not_say_is_named_as_assumed(imported):
    found, _ = imported(saved(legacy_model(TINY).state_dict()), heads=3)
    assert any("1e-06" in note for note in found.notes)
    assert any("activations" in note for note in found.notes)


def renamed(state, *changes):
    """A state dict with names changed, as another version of the classes would have them."""
    for old, new in changes:
        state = {re.sub(old, new, name): tensor for name, tensor in state.items()}
    return state


@pytest.mark.parametrize(
    "changes",
    [
        [("^vit_block", "encoder_mlp"), ("^concat_block", "regressor"), ("^head", "project"), ("^fc_norm", "ln")],
        [("^inception_model.vis_inception", "cnn"), ("^inception_model.magnitude_block", "mags")],
        [("branch(.)", r"b\1"), (r"\.conv\.", ".0."), (r"\.bn\.", ".1.")],
        [("^blocks", "encoder.blocks"), ("^patch_embed", "encoder.patch_embed"), ("^cls_token", "encoder.class_token")],
        [("PCM", "pcm"), (r"mlp\.fc", "ffn.linear"), (r"attn\.proj", "attn.out")],
    ],
    ids=["heads", "branches", "inception blocks", "encoder in a module", "blocks"],
)
@pytest.mark.parametrize("config", [pytest.param(TINY, marks=pytest.mark.slow), CONVOLVED], ids=["plain", "convolved"])
def test_other_names_for_submodules_are_understood_by_structure(changes, config, imported):
    original = legacy_model(config)
    _, model = imported(saved(renamed(original.state_dict(), *changes)), heads=config.heads)
    assert difference(original, model) < 1e-6


def test_what_an_astromae_has_no_use_for_is_named(imported):
    original = legacy_model(TINY)
    state = original.state_dict() | {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_embed.weight": torch.zeros(8, 12),
        "decoder_blocks.0.attn.qkv.weight": torch.zeros(24, 8),
        "decoder_pos_embed": torch.zeros(1, 17, 8),
        "norm.weight": torch.ones(12),
        "norm.bias": torch.zeros(12),
    }
    found, model = imported(saved(state), heads=3)
    assert difference(original, model) < 1e-6
    assert set(found.unused) == {
        *set(state) - set(original.state_dict()),
        "inception_model.vis_inception.0.weight",
        "inception_model.vis_inception.0.bias",
    }


def test_the_classification_head_of_an_encoder_is_named_as_unused(imported):
    original = legacy_model(TINY)
    names = [("^blocks", "vit.blocks"), ("^patch_embed", "vit.patch_embed")]
    state = renamed(original.state_dict(), *names)
    state |= {"vit.head.weight": torch.zeros(1000, 12), "vit.head.bias": torch.zeros(1000)}
    found, model = imported(saved(state), heads=3)
    assert "classification head" in found.unused["vit.head.weight"]
    assert difference(original, model) < 1e-6


def test_counters_of_batches_are_kept_and_may_be_missing(imported):
    original = legacy_model(TINY)
    _, model = imported(saved(original))
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    assert {int(value) for value in counters.values()} == {7}
    without = {name: tensor for name, tensor in original.state_dict().items() if "num_batches" not in name}
    _, model = imported(saved(without), heads=3)
    assert difference(original, model) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_converted_and_that_is_said(dtype, imported):
    original = legacy_model(TINY).to(dtype)
    found, model = imported(saved(original))
    assert str(dtype).removeprefix("torch.") in found.notes[0]
    assert difference(original.float(), model) < 1e-6


def test_weights_that_are_not_contiguous_are_read_as_they_are(imported):
    original = legacy_model(TINY)
    original.head.weight = nn.Parameter(original.head.weight.T.contiguous().T, False)
    assert not original.head.weight.is_contiguous()
    _, model = imported(saved(original))
    assert difference(original, model) < 1e-6


def test_the_card_says_what_the_weights_were_made_from(tmp_path, imported):
    found, _ = imported(saved(legacy_model(TINY)))
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert found.source_sha256 in file.metadata()["cosmic"]
        assert "legacy.pt" in file.metadata()["cosmic"]


def test_nothing_of_the_files_classes_can_be_imported(imported):
    data = saved(parallel(legacy_model(TINY)))
    imported(data)
    for module in ("blocks.photoz", "NormalCell", "timm"):
        assert module not in sys.modules
        with pytest.raises(ImportError):
            importlib.import_module(module)
    with pytest.raises(ModuleNotFoundError):
        torch.load(io.BytesIO(data), weights_only=False)
    with published_names():
        torch.load(io.BytesIO(data), weights_only=False)


def test_a_state_dict_without_heads_asks_for_them(refused):
    assert "--heads N" in refused(legacy_model(TINY).state_dict())


@pytest.mark.parametrize(("heads", "named"), [(2, "3 heads, not 2"), (0, "not 0")])
def test_heads_that_contradict_the_file_are_refused(heads, named, refused):
    assert named in refused(legacy_model(TINY), heads=heads)


@pytest.mark.parametrize(("heads", "named"), [(5, "divide width 12"), (-3, "at least one"), (0, "at least one")])
def test_heads_that_cannot_be_are_refused(heads, named, refused):
    assert named in refused(legacy_model(TINY).state_dict(), heads=heads)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.1.norm2.bias", "it lacks the tensor blocks.1.norm2.bias"),
        ("blocks.0.attn.v_bias", "it lacks the tensor encoder.blocks.0.attention.v_bias"),
        ("pos_embed", "positional embedding (a tensor such as pos_embed)"),
        ("vit_block.2.bias", "it lacks the tensor vit_block.2.bias"),
        ("patch_embed.proj.weight", "patch embedding"),
        ("fc_norm.weight", "beside the blocks it has no layer norm, where an AstroMAE has one"),
        ("blocks.0.norm1.weight", "block blocks.0 has the layer norm blocks.0.norm2, where 2 are known"),
    ],
)
def test_a_missing_tensor_is_missed(name, expected, refused):
    state = legacy_model(CONVOLVED).state_dict()
    del state[name]
    assert expected in refused(state, heads=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "every"),
    [(TINY, 15), pytest.param(TINY, 1, marks=pytest.mark.soak), pytest.param(CONVOLVED, 1, marks=pytest.mark.soak)],
    ids=["plain, each fifteenth", "plain", "convolved"],
)
def test_every_missing_tensor_is_missed(config, every, refused):
    state = legacy_model(config).state_dict()
    twins = "inception_model.conv2d_init", "inception_model.vis_inception.0"
    for name in list(state)[::every]:
        if not name.endswith("num_batches_tracked") and not name.startswith(twins):
            refused({other: tensor for other, tensor in state.items() if other != name}, heads=config.heads)


@pytest.mark.parametrize(
    ("name", "shape", "named"),
    [
        ("blocks.0.ls1.gamma", (12,), "'blocks.0.ls1.gamma'"),
        ("blocks.1.attn.q_norm.weight", (4,), "blocks.1.attn.q_norm"),
        ("blocks.0.attn.k_bias", (12,), "'blocks.0.attn.k_bias'"),
        ("blocks.0.attn.extra.weight", (12, 12), "blocks.0.attn.extra"),
        ("blocks.7.attn.qkv.weight", (36, 12), "0, 1, 7"),
        ("second.blocks.0.attn.qkv.weight", (36, 12), "blocks, second.blocks"),
        ("inception_model.head_incept_mag.0.weight", (8, 16), "head_incept_mag.0"),
        ("inception_model.extra.weight", (3, 3, 1, 1), "inception_model.extra"),
        ("norm_pre.weight", (12,), "norm_pre"),
        ("other_pos_embed", (1, 17, 12), "other_pos_embed"),
        ("stray", (2, 2), "'stray'"),
        ("stray.deep.weight", (1, 2, 3, 4, 5), "'stray.deep.weight'"),
    ],
)
def test_a_surplus_tensor_is_refused_and_named(name, shape, named, refused):
    assert named in refused(legacy_model(TINY).state_dict() | {name: torch.ones(shape)}, heads=3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["head.weight", "pos_embed", "blocks.0.attn.q_bias"])
def test_weights_that_are_not_finite_are_refused_and_named(name, value, refused):
    model = legacy_model(CONVOLVED)
    with torch.no_grad():
        model.state_dict()[name].view(-1)[1] = value
    said = refused(model)
    assert f"tensor {name} holds NaN or infinite weights, 1 of " in said
    assert "as a training that diverged leaves them: import a checkpoint of an earlier epoch" in said


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("head.weight", torch.int64),
        ("head.weight", torch.int8),
        ("head.weight", torch.bool),
        ("inception_model.vis_inception.2.branch1.bn.num_batches_tracked", torch.float32),
    ],
)
def test_weights_of_a_wrong_type_are_refused_and_named(name, dtype, refused):
    state = legacy_model(TINY).state_dict()
    message = refused(state | {name: state[name].to(dtype)}, heads=3)
    assert name in message
    assert str(dtype).removeprefix("torch.") in message


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blocks.1.mlp.fc1.weight", (25, 12)),
        ("blocks.1.norm1.weight", (13,)),
        ("fc_norm.bias", (11,)),
        ("concat_block.0.weight", (8, 24)),
        ("inception_model.vis_inception.8.branch4.1.bn.bias", (4,)),
        ("pos_embed", (2, 17, 12)),
        ("cls_token", (1, 2, 12)),
        ("patch_embed.proj.weight", (12, 5, 8, 7)),
    ],
)
def test_a_tensor_whose_shape_does_not_fit_the_others_is_refused_and_named(name, shape, refused):
    state = legacy_model(TINY).state_dict()
    assert name in refused(state | {name: torch.ones(shape)}, heads=3)


@pytest.mark.parametrize("positions", [1, 16, 18, 27])
def test_positions_that_make_no_square_are_refused(positions, refused):
    state = legacy_model(TINY).state_dict() | {"pos_embed": torch.ones(1, positions, 12)}
    assert "pos_embed" in refused(state, heads=3)


def changed(config, change):
    model = legacy_model(config)
    change(model)
    return model


CONTRADICTIONS = {
    "another activation in the MLP": (lambda m: setattr(m.blocks[0].mlp, "act", nn.ReLU()), "blocks.0.mlp.act"),
    "an approximate GELU": (lambda m: setattr(m.blocks[0].mlp, "act", nn.GELU("tanh")), "approximate"),
    "another activation in a head": (lambda m: m.vit_block.__setitem__(1, nn.GELU()), "vit_block.1"),
    "another epsilon in one norm": (lambda m: setattr(m.blocks[1].norm2, "eps", 1e-5), "epsilon"),
    "another epsilon of a batch norm": (
        lambda m: setattr(m.inception_model.vis_inception[2].branch1.bn, "eps", 1e-3),
        "branch1.bn has eps 0.001",
    ),
    "heads that differ": (lambda m: setattr(m.blocks[1].attn, "num_heads", 2), "2, 3 heads"),
    "another scale": (lambda m: setattr(m.blocks[0].attn, "scale", 1.0), "scales its attention"),
    "a stride": (lambda m: setattr(m.inception_model.vis_inception[3].branch1.conv, "stride", (2, 2)), "stride"),
    "overlapping patches": (lambda m: setattr(m.patch_embed.proj, "stride", (4, 4)), "patch_embed.proj has stride"),
    "another pool": (lambda m: setattr(m.inception_model.avgpool, "kernel_size", 4), "kernel_size 4"),
    "a last block that joins all": (
        lambda m: setattr(m.inception_model.vis_inception[8], "is_custom", False),
        "vis_inception.8 has is_custom False",
    ),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_module_that_computes_something_else_is_refused(kind, refused):
    change, named = CONTRADICTIONS[kind]
    assert named in refused(changed(TINY, change))


def test_a_module_without_weights_that_is_not_known_is_refused(refused):
    class Unknown(Patches):
        def __init__(self):
            nn.Module.__init__(self)

    with published_names():
        Unknown.__module__, Unknown.__qualname__ = "blocks.photoz", "Sharpen"
        sys.modules["blocks.photoz"].Sharpen = Unknown
        model = changed(TINY, lambda m: m.vit_block.append(Unknown()))
        file = io.BytesIO()
        torch.save(model, file)
    assert "vit_block.3 is blocks.photoz.Sharpen" in refused(file.getvalue())


def test_another_activation_beside_attention_is_refused(refused):
    assert "blocks.0.PCM.2 is ReLU" in refused(changed(CONVOLVED, lambda m: m.blocks[0].PCM.__setitem__(2, nn.ReLU())))


def test_inception_blocks_with_other_branches_are_refused(refused):
    def swap(model):
        block = model.inception_model.vis_inception[2]
        block.branch2, block.branch3 = block.branch3, block.branch2

    assert "inception branch" in refused(changed(TINY, swap))


def test_heads_that_fit_two_branches_are_refused(refused):
    config = dataclasses.replace(TINY, inception_widths=(2, 3, 2, 3, 1), width=48, heads=3)
    state = legacy_model(config).state_dict()
    names = [(r"^inception_model\.vis_inception\.(10|12)", r"second.\1")]
    assert "it is not clear which of the pairs" in refused(renamed(state, *names), heads=3)


@pytest.mark.parametrize(
    "thing", [torch.zeros(3), [torch.zeros(3)], {}, {"a": 1}, 7, None, {"model": {}}, nn.Sequential()], ids=repr
)
def test_anything_but_weights_is_refused(thing, refused):
    assert "it holds" in refused(thing)


def test_another_model_is_refused(refused):
    assert "no transformer block" in refused(nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)))


def test_a_file_that_claims_more_weights_than_it_has_bytes_is_refused(refused):
    config = dataclasses.replace(TINY, magnitude_width=2000, magnitude_layers=3)
    state = legacy_model(config).state_dict()
    shared = state["inception_model.magnitude_block.2.weight"]
    state["inception_model.magnitude_block.4.weight"] = shared.flatten()[: shared.numel()].view(2000, 2000)
    for layer in range(6, 40, 2):
        state[f"inception_model.magnitude_block.{layer}.weight"] = shared
        state[f"inception_model.magnitude_block.{layer}.bias"] = torch.zeros(2000)
    assert "more numbers than the file has bytes" in refused(state, heads=3)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"none\.pt: it cannot be read"):
        import_checkpoint(tmp_path / "none.pt", tmp_path / "out.safetensors")
