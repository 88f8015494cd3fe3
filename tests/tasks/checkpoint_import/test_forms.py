"""Every form in which people keep the weights of a model, written by torch and read again."""

import argparse
import collections
import datetime
import io
import pathlib
import random
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch.optim.swa_utils import AveragedModel

from inference.errors import BadCheckpoint
from inference.model.checkpoint import load
from tasks.checkpoint_import.convert import import_checkpoint
from tests.support.legacy_modules import legacy_model, parallel, saved
from tests.support.models import CONVOLVED, TINY, random_galaxies

Epoch = collections.namedtuple("Epoch", "number loss")


@pytest.fixture(scope="module")
def trained():
    """A model after one step, its optimizer, its scheduler and its averaged copy with other weights."""
    model, ema = legacy_model(TINY), AveragedModel(legacy_model(TINY, seed=1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-9, total_steps=9)
    images, magnitudes = map(torch.from_numpy, random_galaxies(TINY, 2))
    model([images, magnitudes]).sum().backward()
    optimizer.step()
    scheduler.step()
    return model, ema.eval(), optimizer, scheduler


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def lightning(model, ema, optimizer, scheduler):
    metrics = {"val_nmad.total": torch.tensor(0.1), "criterion.weight": torch.ones(3)}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(model.state_dict(), "model.") | metrics,
        "callbacks": {
            "ModelCheckpoint{'monitor': 'loss'}": {"dirpath": "a", "best_k_models": {"a": torch.tensor(1.0)}}
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "hyper_parameters": {"path": pathlib.Path("data"), "activation": torch.nn.ReLU},
    }


def everything(model, ema, optimizer, scheduler):
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "optimizer_object": optimizer,
        "scheduler": scheduler.state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "loss": np.float64(0.1),
        "losses": np.arange(3.0),
        "best": np.float32(1),
        "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu"), dtype=torch.float16),
        "path": pathlib.Path("runs") / "one",
        "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "history": collections.defaultdict(list, loss=[1.0, 2.0]),
        "ordered": collections.OrderedDict(a=1),
        "counter": collections.Counter("abc"),
        "queue": collections.deque([1, 2], maxlen=3),
        "last": Epoch(3, 0.1),
        "tags": {"a", "b"},
        "frozen": frozenset({1}),
        "pairs": {("a", 1): 2},
        "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
        "criterion": torch.nn.SmoothL1Loss(),
    }


TAKEN = {
    "model and optimizer": lambda m, e, o, s: {"model": m.state_dict(), "optimizer": o.state_dict(), "epoch": 3},
    "everything beside it": everything,
    "Lightning": lightning,
    "Lightning, compiled": lambda m, e, o, s: {"state_dict": prefixed(m.state_dict(), "model._orig_mod.")},
    "compiled": lambda m, e, o, s: prefixed(m.state_dict(), "_orig_mod."),
    "compiled in parallel": lambda m, e, o, s: prefixed(m.state_dict(), "module._orig_mod."),
    "compiled block by block": lambda m, e, o, s: {
        name.replace("blocks.0.", "blocks.0._orig_mod."): tensor for name, tensor in m.state_dict().items()
    },
    "parallel": lambda m, e, o, s: parallel(m).state_dict(),
    "averaged state": lambda m, e, o, s: AveragedModel(m).state_dict(),
    "averaged module": lambda m, e, o, s: AveragedModel(m),
    "averaged and parallel": lambda m, e, o, s: AveragedModel(parallel(m)).state_dict(),
    "model beside model_ema": lambda m, e, o, s: {"model_ema": e.state_dict(), "model": m.state_dict(), "epoch": 1},
    "modules": lambda m, e, o, s: {"ema": e, "model": m, "optimizer": o.state_dict()},
    "model beside nested ema": lambda m, e, o, s: {
        "net": m.state_dict(),
        "ema": {"module": e.module.state_dict(), "decay": 0.999, "updates": 7},
    },
    "online_model beside ema_model": lambda m, e, o, s: (
        prefixed(m.state_dict(), "online_model.")
        | prefixed(e.module.state_dict(), "ema_model.")
        | {"initted": torch.tensor(True), "step": torch.tensor(5)}
    ),
    "any name": lambda m, e, o, s: {"weights_of_the_net": m.state_dict(), "epoch": 3},
}
WITH_EMA = [name for name in TAKEN if "ema" in name or name == "modules"]
WRITTEN = {
    "before torch 1.6": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
    "protocol 5": {"pickle_protocol": 5},
}


def answers_as(original, model):
    images, magnitudes = map(torch.from_numpy, random_galaxies(model.config, 4))
    with torch.inference_mode():
        return (original([images, magnitudes]) - model(images, magnitudes)).abs().max().item() < 1e-6


def imported(tmp_path, data, **options):
    (tmp_path / "legacy.pt").write_bytes(data)
    found = import_checkpoint(tmp_path / "legacy.pt", tmp_path / "out.safetensors", **options)
    return found, load(tmp_path / "out.safetensors")


@pytest.mark.parametrize("form", TAKEN)
def test_every_form_answers_as_the_model_it_was_saved_from(form, trained, tmp_path):
    _, model = imported(tmp_path, saved(TAKEN[form](*trained)), heads=3)
    assert answers_as(trained[0], model)


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("form", ["everything beside it", "averaged module"])
def test_every_pickle_protocol_and_file_format_is_read(form, written, trained, tmp_path):
    _, model = imported(tmp_path, saved(TAKEN[form](*trained), **WRITTEN[written]), heads=3)
    assert answers_as(trained[0], model)


@pytest.mark.parametrize("form", WITH_EMA)
def test_weights_ema_takes_the_averaged_model_and_both_notes_say_which(form, trained, tmp_path):
    data = saved(TAKEN[form](*trained))
    found, model = imported(tmp_path, data, heads=3, weights="ema")
    assert answers_as(trained[1].module, model)
    assert any(note.startswith("took the weights under ") and "ema" in note for note in found.notes)
    found, model = imported(tmp_path, data, heads=3)
    assert answers_as(trained[0], model)
    assert any(note.startswith("took the weights under ") for note in found.notes)


def test_weights_may_be_chosen_by_their_name_in_the_file(trained, tmp_path):
    model, ema, *_ = trained
    data = saved({"teacher": ema.module.state_dict(), "student": model.state_dict()})
    with pytest.raises(BadCheckpoint, match=r"'teacher', 'student': choose one of them with --weights NAME"):
        imported(tmp_path, data, heads=3)
    assert answers_as(ema.module, imported(tmp_path, data, heads=3, weights="teacher")[1])
    assert answers_as(model, imported(tmp_path, data, heads=3, weights="student")[1])


@pytest.mark.parametrize("weights", ["ema", "other"])
def test_weights_that_the_file_does_not_hold_are_refused(weights, trained, tmp_path):
    for form in (trained[0].state_dict(), {"model": trained[0].state_dict()}):
        with pytest.raises(BadCheckpoint, match=f"--weights '{weights}'"):
            imported(tmp_path, saved(form), heads=3, weights=weights)


def test_notes_name_what_was_ignored(trained, tmp_path):
    found, _ = imported(tmp_path, saved(lightning(*trained)), heads=3)
    ignored = "; ".join(note for note in found.notes if note.startswith("ignored"))
    for name in ("epoch", "callbacks", "optimizer_states", "hyper_parameters", "val_nmad.total", "criterion.weight"):
        assert name in ignored


def test_safetensors_with_published_names_are_taken(trained, tmp_path):
    state = {name: tensor.clone() for name, tensor in trained[0].state_dict().items()}
    _, model = imported(tmp_path, safetensors_bytes(state), heads=3)
    assert answers_as(trained[0], model)


def test_safetensors_cut_short_or_of_other_types_are_refused(trained, tmp_path):
    data = safetensors_bytes({name: tensor.clone() for name, tensor in trained[0].state_dict().items()})
    for damaged in (data[:-7], data[:200]):
        with pytest.raises(BadCheckpoint, match="damaged or truncated"):
            imported(tmp_path, damaged, heads=3)
    with pytest.raises(BadCheckpoint, match="'a' is of the type F8_E4M3"):
        imported(tmp_path, safetensors_bytes({"a": torch.zeros(2).to(torch.float8_e4m3fn)}), heads=3)


def test_safetensors_of_thousands_of_axes_are_refused_at_once(tmp_path):
    shape = ",".join(["1"] * 200_000)
    header = f'{{"a":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,4]}}}}'.encode()
    began = time.process_time()
    with pytest.raises(BadCheckpoint, match="damaged"):
        imported(tmp_path, len(header).to_bytes(8, "little") + header + bytes(4), heads=3)
    assert time.process_time() - began < 5


def with_cells_own_epsilon(config):
    model = legacy_model(config)
    for block in model.blocks:
        block.norm1.eps = block.norm2.eps = 1e-5
    return model


@pytest.mark.parametrize("written", ["zip", "before torch 1.6"])
def test_blocks_of_another_epsilon_than_the_last_norm_are_taken(written, tmp_path):
    original = with_cells_own_epsilon(CONVOLVED)
    with torch.no_grad():
        original.pos_embed.mul_(1e-3), original.patch_embed.proj.weight.mul_(1e-3)  # where an epsilon counts
        original.patch_embed.proj.bias.mul_(1e-3), original.cls_token.mul_(1e-3)
    found, model = imported(tmp_path, saved(original, **WRITTEN.get(written, {})))
    assert (found.config.norm_eps, found.config.head_norm_eps) == (1e-5, 1e-6)
    assert answers_as(original, model)
    _, other = imported(tmp_path, saved(original.state_dict()), heads=3)
    assert not answers_as(original, other), "the epsilon must count, or this test shows nothing"


def test_state_dict_of_cells_has_the_contracts_epsilon_and_a_note(tmp_path):
    found, model = imported(tmp_path, saved(with_cells_own_epsilon(CONVOLVED).state_dict()), heads=3)
    assert (model.config.norm_eps, model.config.head_norm_eps) == (1e-6, None)
    assert any("NormalCell at its own default have 1e-05" in note for note in found.notes)


@pytest.mark.parametrize("name", ["blocks.0.ls1.gamma", "blocks.1.attn.q_norm.weight", "model.blocks.0.ls2.gamma"])
def test_layer_scale_and_qk_norm_are_refused_by_name(name, trained, tmp_path):
    state = trained[0].state_dict() | {name.removeprefix("model."): torch.ones(12)}
    if name.startswith("model."):
        state = prefixed(state, "model.") | {"criterion.weight": torch.ones(1)}
    with pytest.raises(BadCheckpoint, match=name.removeprefix("model.").rpartition(".")[0]):
        imported(tmp_path, saved(state), heads=3)


def test_a_call_beside_the_weights_is_refused_by_name(trained, tmp_path):
    class Runs:
        def __reduce__(self):
            return print, ("ran",)

    file = io.BytesIO()
    torch.save({"model": trained[0].state_dict(), "note": Runs()}, file)
    with pytest.raises(BadCheckpoint, match=r"wants __builtin__\.print, which is refused"):
        imported(tmp_path, file.getvalue(), heads=3)
