import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import textwrap

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import BadCheckpoint, StoreError
from inference.model.checkpoint import content_hash, export_onnx, load, onnx_path, read_config, save
from inference.model.config import SMALL
from tests.support.models import CONVOLVED, KINDS, TINY, random_model


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save(path, random_model(TINY))
    return path


def rewritten(path, tensors=None, header=None):
    """Write the checkpoint anew with tensors or the header's text replaced; a tensor that is None is left out."""
    with safetensors.safe_open(path, "pt") as file:
        kept = {name: file.get_tensor(name).clone() for name in file.keys()} | (tensors or {})  # noqa: SIM118
        metadata = file.metadata() if header is None else header
    kept = {name: tensor for name, tensor in kept.items() if tensor is not None}
    path.write_bytes(safetensors.torch.save(kept, metadata))
    return path


def header_with(path, **changes):
    with safetensors.safe_open(path, "pt") as file:
        return {"cosmic": json.dumps(json.loads(file.metadata()["cosmic"]) | changes)}


def refused(path):
    """The sentence with which load refuses."""
    with pytest.raises(BadCheckpoint) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_config_come_back_as_they_were_saved(tmp_path, kind):
    path, model = tmp_path / "model.safetensors", random_model(KINDS[kind])
    save(path, model)
    loaded = load(path)
    assert read_config(path) == loaded.config == KINDS[kind]
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_the_same_weights_give_the_same_bytes(tmp_path):
    model = random_model(TINY)
    hashes = set()
    for number in range(5):
        save(tmp_path / f"{number}.safetensors", model, {"seed": 1, "metrics": {"r2": 0.9}})
        hashes.add(content_hash(tmp_path / f"{number}.safetensors"))
    assert len(hashes) == 1


def test_the_card_of_a_checkpoint_is_json_in_its_header(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, random_model(TINY), {"seed": 1, "metrics": {"r2": 0.9}})
    with safetensors.safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["cosmic"])["card"] == {"seed": 1, "metrics": {"r2": 0.9}}


def test_saving_replaces_the_old_file_in_one_step_and_leaves_nothing_else(path):
    save(path, random_model(CONVOLVED))
    assert read_config(path) == CONVOLVED
    assert list(path.parent.iterdir()) == [path]


def test_a_saved_checkpoint_is_as_readable_as_any_other_file(path):
    other = path.with_name("other")
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_checkpoint_that_cannot_be_written_is_named(path):
    with pytest.raises(StoreError, match=r"cannot write .*new.safetensors: File exists"):
        save(path / "new.safetensors", random_model(TINY))


def test_a_loaded_model_does_not_change_with_its_file(path):
    loaded = load(path)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(path, kind):
    tensors = load(path).state_dict()
    half = {name: tensor.to(kind) for name, tensor in tensors.items() if tensor.is_floating_point()}
    for name, tensor in load(rewritten(path, half)).state_dict().items():
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, half[name].float())


def test_a_missing_tensor_is_refused_by_name(path):
    assert "lacks the tensor 'head.0.weight'" in refused(rewritten(path, {"head.0.weight": None}))


def test_a_surplus_tensor_is_refused_by_name(path):
    assert "the tensor 'extra'" in refused(rewritten(path, {"extra": torch.zeros(2)}))


def test_weights_of_another_architecture_are_refused(path):
    sentence = refused(rewritten(path, header=header_with(path, config=CONVOLVED.to_dict())))
    assert "lacks the tensor 'encoder.blocks.0.attention.q_bias' and" in sentence


@pytest.mark.parametrize("shape", [(8,), (8, 25, 1), (25, 8), (0, 25), ()])
def test_a_tensor_of_another_shape_is_refused_by_name(path, shape):
    sentence = refused(rewritten(path, {"head.0.weight": torch.zeros(shape)}))
    assert f"tensor head.0.weight has the shape {list(shape)}; the config wants [8, 25]" in sentence


@pytest.mark.parametrize("kind", [torch.float64, torch.int32, torch.bool, torch.uint8])
def test_a_tensor_of_another_type_is_refused_by_name(path, kind):
    assert "tensor head.0.bias is" in refused(rewritten(path, {"head.0.bias": torch.zeros(8, dtype=kind)}))


def test_a_count_that_is_no_integer_is_refused_by_name(path):
    name = "inception.2.one.1.num_batches_tracked"
    assert f"tensor {name} is F32, not I64" in refused(rewritten(path, {name: torch.tensor(0.0)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_by_name(path, value, kind):
    bias = torch.zeros(8, dtype=kind)
    bias[3] = value
    assert "tensor head.0.bias holds NaN or infinite weights" in refused(rewritten(path, {"head.0.bias": bias}))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (TINY.to_dict() | {"colour": 1}, "no field 'colour'"),
        (TINY.to_dict() | {"width": 10**12}, "width must be a whole number from 1 to 16384"),
        (TINY.to_dict() | {"heads": 5}, "heads must divide width 12"),
        ([], "must be an object"),
    ],
)
def test_a_wrong_config_is_refused_by_file_and_field(path, config, said):
    rewritten(path, header=header_with(path, config=config))
    assert said in refused(path)
    with pytest.raises(BadCheckpoint, match=path.name):
        read_config(path)


def test_huge_config_over_few_weights_is_refused_unbuilt(path):
    config = TINY.to_dict() | {"width": 16_384, "heads": 64, "depth": 100, "magnitude_width": 16_384}
    assert "lacks the tensor" in refused(rewritten(path, header=header_with(path, config=config)))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "no config of an AstroMAE"),
        ({"other": "x"}, "no config of an AstroMAE"),
        ({"cosmic": "{"}, "damaged config"),
        ({"cosmic": "[]"}, "damaged config"),
        ({"cosmic": "{}"}, "damaged config"),
        ({"cosmic": "[" * 100_000}, "damaged config"),
        ({"cosmic": '{"format": 2, "config": {}}'}, "checkpoint format 2; this version reads 1"),
    ],
)
def test_a_header_without_a_readable_config_is_refused(path, header, said):
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, header))
    assert said in refused(path)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    for read in (load, read_config, content_hash, onnx_path):
        with pytest.raises(BadCheckpoint, match=r"cannot read .*none.safetensors: No such file"):
            read(tmp_path / "none.safetensors")


def test_a_folder_is_no_checkpoint(tmp_path):
    assert "Is a directory" in refused(tmp_path)


class Trap:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (open, (str(self.canary), "w"))


@pytest.mark.parametrize("write", [lambda trap, path: torch.save(trap, path),
                                   lambda trap, path: path.write_bytes(pickle.dumps(trap))])  # fmt: skip
def test_a_pickle_is_refused_as_one_and_never_executed(tmp_path, write):
    path = tmp_path / "model.safetensors"
    write(Trap(tmp_path / "canary"), path)
    assert "pickled checkpoint" in refused(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        bytes(100),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{" * 100,
        struct.pack("<Q", 90_000_000) + b"{" * 100,
        struct.pack("<Q", 1000) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    refused(path)


@pytest.mark.parametrize("end", [2**40, 2**62])
def test_a_header_that_claims_terabytes_is_refused(tmp_path, end):
    header = json.dumps({"a": {"dtype": "F32", "shape": [end // 4], "data_offsets": [0, end]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    assert "damaged or truncated" in refused(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_checkpoint_cut_anywhere_is_refused(path, data):
    whole = path.read_bytes()
    cut = path.with_name("cut.safetensors")
    cut.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    refused(cut)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_checkpoint_with_changed_bytes_is_loaded_or_refused(path, data):
    changed = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(changed[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, header))] = data.draw(st.integers(0, 255))
    other = path.with_name("changed.safetensors")
    other.write_bytes(changed)
    try:
        load(other)
    except BadCheckpoint as error:
        assert other.name in str(error)


def test_config_hash_and_graph_path_are_read_without_torch(path):
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from inference.model.checkpoint import content_hash, onnx_path, read_config
        path = Path(sys.argv[1])
        read_config(path), content_hash(path), onnx_path(path)
        sys.exit("torch" in sys.modules)
    """)
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0


def test_the_graph_lies_beside_the_weights_under_their_content_hash(path):
    graph = onnx_path(path)
    assert graph.parent == path.parent
    assert graph.name.startswith(f"tiny.{content_hash(path)[:16]}-")
    assert graph.suffix == ".onnx"


def test_other_weights_have_another_graph(path):
    before = onnx_path(path)
    save(path, random_model(TINY, seed=1))
    assert onnx_path(path) != before


def test_a_graph_that_exists_is_not_exported_again(path):
    graph = onnx_path(path)
    graph.write_bytes(b"exported before")
    assert export_onnx(path) == graph
    assert graph.read_bytes() == b"exported before"


def without_the_right_to_write_anywhere():
    """Take from root, in a child before it starts, what lets it write where permissions forbid."""
    if os.geteuid() == 0:
        import ctypes

        drop_from_bounding_set, override_permissions = 24, 1
        assert ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions, 0, 0, 0) == 0


def test_graph_in_a_read_only_folder_is_used_if_it_exists(path, tmp_path):
    code = "import sys, pathlib, inference.model.checkpoint as c; print(c.onnx_path(pathlib.Path(sys.argv[1])))"

    def seen():
        child = subprocess.run(
            [sys.executable, "-c", code, path],
            env=os.environ | {"HOME": str(tmp_path / "home")},
            preexec_fn=without_the_right_to_write_anywhere,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return child.stdout.strip()

    graph = onnx_path(path)
    path.parent.chmod(0o500)
    try:
        assert seen() == str(tmp_path / "home" / ".cache" / "cosmic-flows" / graph.name)
        path.parent.chmod(0o700)
        graph.touch()
        path.parent.chmod(0o500)
        assert seen() == str(graph)
    finally:
        path.parent.chmod(0o700)


@pytest.mark.slow
def test_two_processes_export_at_once_in_silence_and_leave_one_whole_graph(path):
    code = "import sys, pathlib, inference.model.checkpoint as c; c.export_onnx(pathlib.Path(sys.argv[1]))"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [child.communicate()[0] for child in children]
    assert said == ["", ""]
    graph = onnx_path(path)
    assert sorted(path.parent.iterdir()) == sorted([path, graph])
    assert os.fsencode(os.getcwd()) not in graph.read_bytes()  # noqa: PTH109


def test_the_small_checkpoint_is_under_a_megabyte(tmp_path):
    path = tmp_path / "small.safetensors"
    save(path, random_model(SMALL))
    assert path.stat().st_size < 1_000_000


def test_a_headers_length_that_begins_like_a_pickle_is_no_pickle(tmp_path):
    path = tmp_path / "m.safetensors"
    model = random_model(TINY)
    for padding in range(256):
        save(path, model, {"note": "x" * padding})
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail("no header of such a length was made")
    assert load(path).state_dict().keys() == model.state_dict().keys()
