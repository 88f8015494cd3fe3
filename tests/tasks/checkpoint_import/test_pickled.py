import collections
import io
import os
import pathlib
import pickle
import struct
import sys
import tracemalloc
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from inference.errors import BadCheckpoint, BadInput
from tasks.checkpoint_import.convert import import_checkpoint
from tasks.checkpoint_import.flatten import flatten
from tasks.checkpoint_import.pickled import StandIn, Weight, read_pickle
from tasks.checkpoint_import.torch_file import read_file
from tests.support.corruption import CLAIMS_OF_GIGABYTES, peak_bytes
from tests.support.legacy_modules import legacy_model, parallel, saved
from tests.support.models import CONVOLVED, TINY

LEGACY = {"_use_new_zipfile_serialization": False}


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def archive(program, folder="archive/", compression=zipfile.ZIP_STORED, **entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr(f"{folder}data.pkl", program)
        for name, content in entries.items():
            made.writestr(f"{folder}{name}", content)
    return file.getvalue()


@pytest.fixture
def refused(tmp_path):
    """The sentence with which a file's bytes are refused."""

    def run(data):
        path = tmp_path / "legacy.pt"
        path.write_bytes(data)
        with pytest.raises(BadInput) as caught:
            read_file(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


@pytest.fixture
def read(tmp_path):
    def run(data):
        (tmp_path / "legacy.pt").write_bytes(data)
        return read_file(tmp_path / "legacy.pt")

    return run


@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}], ids=["zip", "before torch 1.6", "protocol 4"])
def test_tensors_come_under_the_names_of_the_state_dict_bit_for_bit(options, read):
    model = legacy_model(CONVOLVED)
    file = read(saved(model, **options))
    flat = flatten(file.root)
    state = model.state_dict()
    assert set(flat.tensors) == set(state)
    for name, weight in flat.tensors.items():
        assert file.tensor(name, weight).equal(state[name])


def test_plain_attributes_come_along_and_classes_are_names_only(read):
    modules = flatten(read(saved(parallel(legacy_model(TINY)))).root).modules
    assert modules["blocks.0.attn"].kind == "timm.models.vision_transformer.Attention"
    assert modules["blocks.0.attn"].state["num_heads"] == 3
    assert modules["fc_norm"].state["eps"] == 1e-6
    assert {type(module) for module in modules.values()} == {StandIn}


@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}], ids=["zip", "before torch 1.6", "protocol 4"])
def test_a_command_in_a_module_is_refused_and_nothing_runs(tmp_path, options):
    canary, source, out = tmp_path / "canary", tmp_path / "legacy.pt", tmp_path / "out.safetensors"
    model = legacy_model(TINY)
    model.blocks[1].note = Runs(os.system, f"touch {canary}")
    source.write_bytes(saved(model, **options))
    with pytest.raises(BadCheckpoint, match=r"legacy\.pt: its pickle wants posix\.system, which is refused"):
        import_checkpoint(source, out)
    assert not canary.exists()
    assert not out.exists()
    pickle.loads(pickle.dumps(Runs(os.system, f"touch {canary}")))
    assert canary.exists(), "the canary itself must work, or this test shows nothing"


def test_refusal_lists_every_unknown_name_of_the_pickle(refused):
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.note, model.counter, model.path = Runs(os.getcwd), collections.Counter(), pathlib.Path("a")
    model.hook, model.run = print, Runs(os.system, "true")
    message = refused(saved(model))
    for unknown in ("posix.getcwd", "builtin__.print", "posix.system"):
        assert unknown in message
    for known in ("Linear", "Counter", "Path"):
        assert known not in message


def test_refusal_lists_every_module_class_that_an_astromae_does_not_have(read):
    model = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(), nn.Tanh())
    with pytest.raises(BadInput, match=r"activation\.LeakyReLU', 'torch\.nn\.modules\.activation\.Tanh'"):
        flatten(read(saved(model)).root)


def test_object_of_an_unknown_class_is_data_and_never_imported():
    program = b"\x80\x02cevil\nHoliday\n)\x81}X\x01\x00\x00\x00aK\x01sb."
    made = read_pickle(io.BytesIO(program))
    assert (made.kind, made.state) == ("evil.Holiday", {"a": 1})
    assert "evil" not in sys.modules


@pytest.mark.parametrize("use", [b")R", b"", b")\x81h\x00)R"], ids=["called", "bare", "called later"])
def test_an_unknown_name_that_is_more_than_a_class_is_refused(use, refused):
    assert "wants evil.holiday" in refused(archive(b"\x80\x02cevil\nholiday\nq\x00" + use + b"."))


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_command_is_refused_in_every_protocol(protocol, refused):
    program = pickle.dumps(Runs(os.system, "true"), protocol=protocol)
    assert "posix.system" in refused(archive(program))


def test_names_that_are_no_names_do_not_reach_the_terminal(refused):
    program = b"\x80\x04\x8c\x05a\x1b[2J\x8c\x03b\nc\x93."
    message = refused(archive(program))
    assert "\x1b" not in message
    assert "a\\x1b[2J.b\\nc" in message


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a" * 1000])
def test_tensors_under_names_that_are_none_are_refused(name, read):
    with pytest.raises(BadInput, match="which is none"):
        flatten(read(saved({name: torch.zeros(1), "b": torch.zeros(1)})).root)


def test_a_thousand_names_are_counted(refused):
    program = b"\x80\x02" + b"".join(f"cevil\nname{n}\n0".encode() for n in range(1000)) + b"N."
    message = refused(archive(program))
    assert "and 900 more" in message


@pytest.mark.parametrize(
    "known",
    [
        b"ctorch.nn.modules.linear\nLinear\n",
        b"cblocks.photoz\nAnything\n",
        b"ctimm.layers.mlp\nMlp\n",
        b"ctimm.layers.attention\nAttention\n",
        b"ctimm.models.layers.drop\nDropPath\n",
        b"cNormalCell\nNormalCell\n",
        b"ctorch\ndevice\n",
    ],
)
def test_calls_of_known_classes_make_inert_stand_ins(known):
    made = read_pickle(io.BytesIO(b"\x80\x02" + known + b"X\x04\x00\x00\x00true\x85R."))
    assert type(made) is StandIn
    assert made.state == {}


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02X\x13\x00\x00\x00collections OrderedDict)R.",
        b"\x80\x02]N]\x86Q.",
        b"\x80\x02]}b.",
        b"\x80\x02NNb.",
        b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81Nb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x85R.",
        b"\x80\x02}]N" + b"s.",
        b"\x80\x02",
        b".",
        b"",
    ],
)
def test_a_program_put_together_wrongly_is_refused(program, refused):
    assert "damaged" in refused(archive(program))


def refuse(path, data):
    path.write_bytes(data)
    with pytest.raises(BadInput):
        flatten(read_file(path).root)


@pytest.mark.parametrize("program", CLAIMS_OF_GIGABYTES.values(), ids=CLAIMS_OF_GIGABYTES)
def test_a_pickle_that_claims_gigabytes_gets_none(program, tmp_path):
    assert peak_bytes(lambda: refuse(tmp_path / "bomb.pt", archive(program))) < 5_000_000
    assert peak_bytes(lambda: refuse(tmp_path / "bomb.pt", program)) < 5_000_000


LINEAR = b"ctorch.nn.modules.linear\nLinear\n)\x81"
MODULES = b"}X\x08\x00\x00\x00_modules"


def nested(levels, children):
    """A module that holds a module `children` times, which holds another as often, and so on."""
    program = LINEAR + b"q\x00"
    for level in range(levels):
        held = b"".join(b"X\x01\x00\x00\x00" + bytes([97 + child]) + b"h" + bytes([level]) for child in range(children))
        program += LINEAR + MODULES + b"}(" + held + b"usbq" + bytes([level + 1])
    return b"\x80\x02" + program + b"."


@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize(("levels", "children"), [(200, 1), (200, 2), (25, 20)])
def test_modules_in_modules_without_end_are_refused(levels, children, tmp_path):
    assert peak_bytes(lambda: refuse(tmp_path / "bomb.pt", archive(nested(levels, children)))) < 30_000_000


def test_a_module_that_holds_itself_is_refused(tmp_path):
    program = b"\x80\x02" + LINEAR + b"q\x00" + MODULES + b"}X\x01\x00\x00\x00ah\x00ssb."
    assert peak_bytes(lambda: refuse(tmp_path / "bomb.pt", archive(program))) < 5_000_000


@pytest.mark.timeout(30, method="thread")
@pytest.mark.parametrize("between", [b"", b"}X\x05\x00\x00\x00model"], ids=["itself", "what wraps it"])
def test_a_dict_that_wraps_itself_is_refused(between, tmp_path):
    program = b"\x80\x02}q\x00X\x05\x00\x00\x00model" + between + b"h\x00s" + (b"s" if between else b"") + b"."
    assert peak_bytes(lambda: refuse(tmp_path / "bomb.pt", archive(program))) < 5_000_000


@pytest.mark.timeout(30, method="thread")  # hashing could not be interrupted
def test_a_key_that_would_take_forever_to_hash_is_not_hashed(refused):
    refused(archive(b"\x80\x02}" + b")" + b"q\x00h\x00\x86" * 200 + b"Ns."))


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


BIG = 200_000
REPEATED = {
    "a long name": text(b"a" * BIG) + b"q\x00" + b"0h\x00h\x00\x93" * BIG,
    "a long shape": b"(" + b"K\x01" * BIG + b"tq\x000" + b"ctorch\nSize\nq\x010" + b"h\x01h\x00\x85R0" * BIG + b"N",
    "many arguments": b"(" + b"K\x01" * BIG + b"tq\x000" + b"ctorch\nSize\nq\x010" + b"h\x01h\x00R0" * BIG + b"N",
    "a long storage": b"(" + b"K\x01" * BIG + b"tq\x000" + b"h\x00Q0" * BIG + b"N",
    "a large state": LINEAR
    + b"}("
    + b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(BIG))
    + b"uq\x00b"
    + b"h\x00b" * BIG,
    "many pairs": b"]("
    + b"NN\x86" * BIG
    + b"eq\x000"
    + b"ccollections\nOrderedDict\nq\x010"
    + b"h\x01h\x00\x85R0" * BIG
    + b"N",
}


@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize("kind", REPEATED)
def test_parts_that_are_used_over_and_over_cost_no_more_than_their_bytes(kind, refused):
    refused(archive(b"\x80\x04" + REPEATED[kind] + b"."))


@pytest.mark.timeout(60, method="thread")
def test_many_models_side_by_side_are_refused(tmp_path):
    weights = torch.zeros(15_000, 1)
    state = {f"a{number}.0.qkv.weight": weight for number, weight in enumerate(weights)}
    (tmp_path / "many.pt").write_bytes(saved(state))
    with pytest.raises(BadCheckpoint, match="it has transformer blocks in"):
        import_checkpoint(tmp_path / "many.pt", tmp_path / "out.safetensors", 3)


@pytest.mark.parametrize(
    "key", [b"\x8a\xff" + b"\x7f" * 255, b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096], ids=["long", "very long"]
)
def test_keys_that_are_no_names_are_left_out_of_messages(key, tmp_path):
    blocks = text(b"model") + b"}" + text(b"blocks.0.qkv.weight")
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0")
    tensor += text(b"cpu") + b"K\x06tQK\x00K\x06\x85K\x01\x85\x89Nt" + b"R"
    program = b"\x80\x02}(" + blocks + tensor + b"s" + key + b"Nu."
    (tmp_path / "keys.pt").write_bytes(archive(program, **{"data/0": bytes(24)}))
    with pytest.raises(BadCheckpoint) as caught:
        import_checkpoint(tmp_path / "keys.pt", tmp_path / "out.safetensors", 3)
    assert len(str(caught.value)) < 500


def test_a_pickle_far_longer_than_a_models_is_refused_unread(refused):
    assert "5000004 bytes" in refused(archive(b"\x80\x02" + b"N" * 5_000_001 + b"."))


@pytest.mark.slow
def test_an_endless_pickle_is_not_read_to_its_end(refused):
    assert "longer than" in refused(b"\x80\x02" + b"N" * 5_000_001 + b".")


def test_a_compressed_entry_is_refused(refused):
    assert "compressed" in refused(archive(b"\x80\x02N.", compression=zipfile.ZIP_DEFLATED))


def test_a_tensor_may_not_repeat_its_numbers(read):
    file = read(saved({"a": torch.zeros(1).expand(10**9)}))
    weight = file.root["a"]
    assert weight.shape == (10**9,)
    with pytest.raises(BadInput, match="tensor a reaches beyond its data"):
        file.tensor("a", weight)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("change", [{"offset": 7}, {"shape": (5, 3)}, {"strides": (6, 1)}, {"shape": (2**60, 2**60)}])
def test_numbers_that_lead_out_of_the_data_are_refused(change, options, read):
    file = read(saved({"a": torch.zeros(4, 3)}, **options))
    good = file.root["a"]
    assert file.tensor("a", good).shape == (4, 3)
    bad = Weight(**{"storage": good.storage, "offset": 0, "shape": good.shape, "strides": good.strides} | change)
    with pytest.raises(BadInput, match="tensor a reaches beyond its data"):
        file.tensor("a", bad)


def test_storages_shorter_than_claimed_are_refused(read):
    data = saved({"a": torch.zeros(4, 3)})
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in entries.items():
            made.writestr(name, content[:40] if "/data/" in name else content)
    shorter = read(file.getvalue())
    with pytest.raises(BadInput, match="tensor a reaches beyond its data"):
        shorter.tensor("a", shorter.root["a"])


def test_flipped_weights_are_noticed_by_the_zips_checksum(tmp_path):
    data = bytearray(saved(legacy_model(TINY)))
    data[len(data) // 2] ^= 1
    path = tmp_path / "legacy.pt"
    path.write_bytes(data)
    with pytest.raises(BadCheckpoint, match="damaged"):
        import_checkpoint(path, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "no file of torch.save"),
        (b"hello", "no file of torch.save"),
        (b"\x93NUMPY", "no file of torch.save"),
        (b"PK\x03\x04", "zip"),
        (archive(b"\x80\x02N.", byteorder=b"big"), "little-endian"),
        (archive(b"\x80\x02N.", **{"constants.pkl": b""}), "TorchScript"),
        (pickle.dumps({"a": 1}), "first pickle"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1000, 2), "first pickle"),
    ],
    ids=["empty", "text", "numpy", "zip's start", "big-endian", "program", "plain pickle", "other version"],
)
def test_other_files_are_refused_and_told_apart(data, named, refused):
    assert named in refused(data)


def test_a_zip_without_a_pickle_is_refused(refused):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("readme.txt", "hello")
    assert "no data.pkl" in refused(file.getvalue())


def test_a_file_beyond_any_checkpoint_is_refused_unread(tmp_path):
    path = tmp_path / "legacy.pt"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    tracemalloc.start()
    with pytest.raises(BadInput, match="3,221,225,472 bytes"):
        read_file(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


SMALL = {
    "zip": saved({"a": torch.randn(3, 2), "b": nn.BatchNorm2d(2)}),
    "before torch 1.6": saved({"a": torch.randn(3, 2), "b": nn.BatchNorm2d(2)}, **LEGACY),
}


@pytest.mark.parametrize("form", SMALL)
def test_a_truncated_file_is_refused_wherever_it_ends(form, refused):
    for end in range(4, len(SMALL[form]), 11):
        assert "truncated" in refused(SMALL[form][:end])


def reads_or_is_refused(path, data):
    path.write_bytes(data)
    try:
        file = read_file(path)
        for name, weight in flatten(file.root).tensors.items():
            file.tensor(name, weight)
    except BadInput as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000


@pytest.mark.parametrize("form", SMALL)
@settings(max_examples=2 * settings.default.max_examples)
@given(data=st.data())
def test_flipped_bits_are_read_or_refused(form, data, tmp_path_factory):
    good = bytearray(SMALL[form])
    for position, bit in data.draw(
        st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 7)), min_size=1, max_size=4)
    ):
        good[position] ^= 1 << bit
    reads_or_is_refused(tmp_path_factory.getbasetemp() / f"flipped-{len(good)}.pt", bytes(good))


def test_a_zip_whose_entry_would_begin_behind_the_end_is_refused(tmp_path):
    harmed = bytearray(SMALL["zip"])
    harmed[29] ^= 1 << 4  # the upper byte of the first entry's extra field: its content would begin behind the file
    reads_or_is_refused(tmp_path / "harmed.pt", bytes(harmed))


PIECES = [
    *(bytes([code]) for code in b"N()]}tbRQ.ea0\x81\x85\x86\x87\x88\x89s2u\x93\x94\x8f\x90\x91"),
    b"q\x00",
    b"h\x00",
    b"K\x01",
    b"\x8a\x01\xff",
    b"X\x08\x00\x00\x00_modules",
    b"X\x05\x00\x00\x00model",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch.nn.modules.linear\nLinear\n",
    b"ccollections\nOrderedDict\n",
    b"cbuiltins\nset\n",
    b"ctorch\nSize\n",
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ",
    b"(X\x06\x00\x00\x00modulecblocks.photoz\nA\nNNtQ",
]


@settings(max_examples=3 * settings.default.max_examples)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_program_of_known_opcodes_is_read_or_refused(pieces, tmp_path_factory):
    program = b"\x80\x02" + b"".join(pieces) + b"."
    reads_or_is_refused(
        tmp_path_factory.getbasetemp() / "program.pt", archive(program, **{"data/0": struct.pack("<6f", *range(6))})
    )
