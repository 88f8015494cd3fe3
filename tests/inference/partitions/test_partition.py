import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save
from torch.utils.data import TensorDataset

from inference.contract.sample import BITS_PER_SAMPLE, samples_of_size
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput, BadPartition, StoreError
from inference.partitions.partition import Partition, open_partition, partition_bytes, split, write_partition
from inference.resource_usage import peak_memory_mb, reset_peak_memory

FORMATS = pytest.mark.parametrize("suffix", [".pt", ".safetensors"])


def galaxies(count, seed=0, magnitudes=np.float64, redshifts=np.float64):
    random = np.random.default_rng(seed)
    return (
        random.standard_normal((count, 5, 32, 32), dtype=np.float32),
        random.uniform(15, 22, (count, 5)).astype(magnitudes),
        random.uniform(0, 0.4, count).astype(redshifts),
    )


def saved(thing, **options):
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def assert_same_bits(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes()


@FORMATS
@pytest.mark.parametrize("magnitudes", [np.float32, np.float64])
@pytest.mark.parametrize("redshifts", [np.float32, np.float64])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, suffix, magnitudes, redshifts):
    arrays = galaxies(3, magnitudes=magnitudes, redshifts=redshifts)
    path = tmp_path / f"1{suffix}"
    write_partition(path, *arrays)
    for source in (path, path.read_bytes()):
        partition = open_partition(source, "1")
        assert len(partition) == 3
        for read, written in zip((partition.images, partition.magnitudes, partition.redshifts), arrays, strict=True):
            assert_same_bits(read, written)


@FORMATS
def test_a_partition_may_have_no_redshifts(suffix):
    images, magnitudes, _ = galaxies(3)
    data = partition_bytes(images, magnitudes, None, suffix)
    partition = open_partition(data, "1")
    assert partition.redshifts is None
    assert [batch.redshifts for batch in partition.batches(2)] == [None, None]


def test_redshifts_in_a_column_are_read_as_a_row():
    images, magnitudes, redshifts = map(torch.from_numpy, galaxies(3))
    dataset = TensorDataset(images, magnitudes, redshifts[:, None])
    partition = open_partition(saved(dataset), "1.pt")
    assert_same_bits(partition.redshifts, redshifts.numpy())


def test_scripts_of_the_replaced_system_can_load_what_is_written(tmp_path):
    arrays = galaxies(3)
    write_partition(tmp_path / "1.pt", *arrays)
    dataset = torch.load(tmp_path / "1.pt", weights_only=False)
    assert type(dataset) is TensorDataset
    for tensor, written in zip(dataset.tensors, arrays, strict=True):
        assert_same_bits(tensor.numpy(), written)


def test_the_safetensors_library_can_load_what_is_written(tmp_path):
    arrays = galaxies(3)
    write_partition(tmp_path / "1.safetensors", *arrays)
    loaded = load_file(tmp_path / "1.safetensors")
    for name, written in zip(("images", "magnitudes", "redshifts"), arrays, strict=True):
        assert_same_bits(loaded[name], written)


@FORMATS
def test_the_same_galaxies_give_the_same_bytes(tmp_path, suffix):
    paths = [tmp_path / f"1{suffix}", tmp_path / f"another name{suffix}"]
    for path in paths:
        write_partition(path, *galaxies(3))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() == partition_bytes(*galaxies(3), suffix)


def test_a_partition_of_the_contract_has_the_size_that_names_it():
    count = samples_of_size("1MB")
    megabytes = len(partition_bytes(*galaxies(count), ".pt")) / 2**20
    assert megabytes == pytest.approx(1, rel=0.01)


def test_the_content_tells_the_format_not_the_name(tmp_path):
    path = tmp_path / "1.pt"
    path.write_bytes(partition_bytes(*galaxies(3), ".safetensors"))
    assert len(open_partition(path, "1.pt")) == 3


@FORMATS
def test_reading_does_not_import_torch(tmp_path, suffix):
    path = tmp_path / f"1{suffix}"
    write_partition(path, *galaxies(3))
    program = (
        "import sys, pathlib\n"
        "from inference.partitions.partition import open_partition\n"
        "partition = open_partition(pathlib.Path(sys.argv[1]), '1')\n"
        "assert sum(len(batch.images) for batch in partition.batches(2)) == 3\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)


@FORMATS
def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, suffix):
    path = tmp_path / f"1{suffix}"
    path.write_bytes(b"old")
    program = (
        "import resource, sys, pathlib, numpy as np\n"
        "from inference.partitions.partition import write_partition\n"
        "from inference.errors import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "images = np.zeros((9, 5, 32, 32), np.float32)\n"
        "try:\n"
        "    write_partition(pathlib.Path(sys.argv[1]), images, np.zeros((9, 5)), None)\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True)
    assert said.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_not_there_is_made_and_a_file_in_its_place_named(tmp_path):
    write_partition(tmp_path / "new" / "1.pt", *galaxies(1))
    assert (tmp_path / "new" / "1.pt").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*file/1\.pt: (Not a directory|File exists)"):
        write_partition(tmp_path / "file" / "1.pt", *galaxies(1))


def test_only_the_two_formats_are_written(tmp_path):
    with pytest.raises(BadInput, match=r"not '\.npz'"):
        write_partition(tmp_path / "1.npz", *galaxies(1))
    with pytest.raises(BadInput, match="not 'pt'"):
        partition_bytes(*galaxies(1), "pt")


@FORMATS
def test_arrays_that_are_no_partition_are_not_written(tmp_path, suffix):
    images, magnitudes, redshifts = galaxies(3)
    with pytest.raises(BadPartition, match="differ in length"):
        write_partition(tmp_path / f"1{suffix}", images, magnitudes[:2], redshifts)
    assert list(tmp_path.iterdir()) == []


@FORMATS
@pytest.mark.parametrize("batch_size", [1, 3, 7, 8, 100])
def test_batches_are_the_partition_in_order_with_a_smaller_last_one(suffix, batch_size):
    arrays = galaxies(7)
    batches = list(open_partition(partition_bytes(*arrays, suffix), "1").batches(batch_size))
    assert [batch.start for batch in batches] == list(range(0, 7, batch_size))
    for name, whole in zip(("images", "magnitudes", "redshifts"), arrays, strict=True):
        assert_same_bits(np.concatenate([getattr(batch, name) for batch in batches]), whole)


@FORMATS
def test_batches_stay_readable_after_the_walk_went_on(tmp_path, suffix):
    arrays = galaxies(7)
    write_partition(tmp_path / f"1{suffix}", *arrays)
    partition = open_partition(tmp_path / f"1{suffix}", "1")
    assert_same_bits(np.concatenate([b.images for b in list(partition.batches(2))]), arrays[0])
    (tmp_path / f"1{suffix}").unlink()
    assert_same_bits(partition.images, arrays[0])


def test_a_batch_size_of_nothing_is_refused():
    with pytest.raises(BadInput, match="at least 1, not 0"):
        next(Partition("1.pt", *galaxies(3)).batches(0))


def test_arrays_in_a_batch_are_aligned_even_if_the_file_is_not():
    data = partition_bytes(*galaxies(3), ".safetensors")
    length = int.from_bytes(data[:8], "little")
    shifted = (length + 1).to_bytes(8, "little") + data[8 : 8 + length] + b" " + data[8 + length :]
    partition = open_partition(shifted, "1.safetensors")
    assert not partition.images.flags.aligned
    (batch,) = partition.batches(3)
    assert batch.images.flags.aligned
    assert_same_bits(batch.images, galaxies(3)[0])


def test_model_input_is_counted_as_the_contract_counts_it():
    assert BITS_PER_SAMPLE == 164_160
    assert Partition("1.pt", *galaxies(3)).nbytes == 3 * (20_480 + 40)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("which", "said"), [(0, "pixels"), (1, "magnitudes")])
def test_a_sample_that_is_not_finite_is_named(value, which, said):
    arrays = galaxies(7)
    arrays[which][5].flat[2] = value
    batches = open_partition(partition_bytes(*arrays, ".pt"), "survey/3.pt").batches(2)
    assert [next(batches).start, next(batches).start] == [0, 2]
    with pytest.raises(BadPartition, match=rf"^survey/3\.pt: sample 5 has NaN or infinite {said}$"):
        next(batches)


def test_a_magnitude_that_float32_cannot_hold_is_refused():
    images, magnitudes, redshifts = galaxies(3)
    magnitudes[1, 0] = 1e300
    with pytest.raises(BadPartition, match="sample 1"):
        list(Partition("1.pt", images, magnitudes, redshifts).batches(3))


def test_pixels_of_the_brightest_galaxies_are_taken():
    images, magnitudes, redshifts = galaxies(3)
    images[:] = 1e8
    assert len(list(Partition("1.pt", images, magnitudes, redshifts).batches(2))) == 2


@pytest.mark.parametrize("value", [-9999.0, -99.0, 99.0, 9.9999, 0.0, 1208.7])
def test_a_magnitude_that_was_not_measured_is_named(value):
    images, magnitudes, redshifts = galaxies(3)
    magnitudes[2, 3] = value
    with pytest.raises(BadPartition, match=rf"^1.pt: sample 2 has an implausible magnitude: i is {value:g}"):
        list(Partition("1.pt", images, magnitudes, redshifts).batches(3))


@pytest.mark.parametrize("value", [-9999.0, -999.0, -99.0, 3e38])
def test_a_pixel_that_was_not_measured_is_named(value):
    images, magnitudes, redshifts = galaxies(3)
    images[1, 4, 3, 3] = value
    with pytest.raises(BadPartition, match=r"^1.pt: sample 1 has an implausible pixel: z is "):
        list(Partition("1.pt", images, magnitudes, redshifts).batches(3))


def test_redshifts_may_be_unknown():
    images, magnitudes, redshifts = galaxies(3)
    redshifts[1] = np.nan
    (batch,) = open_partition(partition_bytes(images, magnitudes, redshifts, ".pt"), "1").batches(3)
    assert np.isnan(batch.redshifts).tolist() == [False, True, False]


def wrong(**changes):
    images, magnitudes, redshifts = galaxies(3)
    arrays = {"images": images, "magnitudes": magnitudes, "redshifts": redshifts}
    return [torch.from_numpy(array) for array in (arrays | changes).values()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": np.zeros((3, 5, 64, 64), np.float32)}, r"images .*\(3, 5, 64, 64\)"),
        ({"images": np.zeros((3, 5, 32), np.float32)}, "images"),
        ({"images": np.zeros((3, 5, 32, 32))}, "images must be float32, not float64"),
        ({"images": np.zeros((3, 5, 32, 32), np.int32)}, "images .*int32"),
        ({"images": np.zeros((0, 5, 32, 32), np.float32)}, "differ in length"),
        ({"magnitudes": np.zeros((3, 4))}, "magnitudes"),
        ({"magnitudes": np.zeros(3)}, "magnitudes"),
        ({"magnitudes": np.zeros((3, 5), np.int64)}, "magnitudes .*int64"),
        ({"magnitudes": np.zeros((4, 5))}, "differ in length"),
        ({"redshifts": np.zeros((3, 2))}, "redshifts"),
        ({"redshifts": np.zeros(3, np.float16)}, "redshifts .*float16"),
        ({"redshifts": np.zeros(2)}, "differ in length"),
    ],
)
def test_wrong_shapes_and_types_are_refused_by_field(changes, said):
    with pytest.raises(BadPartition, match=rf"^1\.pt: .*{said}"):
        open_partition(saved(wrong(**changes)), "1.pt")


@FORMATS
def test_a_partition_of_no_galaxies_is_refused(suffix):
    images, magnitudes, redshifts = (array[:0] for array in galaxies(1))
    if suffix == ".pt":
        data = saved(tuple(map(torch.from_numpy, (images, magnitudes, redshifts))))
    else:
        data = save({"images": images, "magnitudes": magnitudes, "redshifts": redshifts})
    with pytest.raises(BadPartition, match=r"^1 holds no galaxies"):
        open_partition(data, "1")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_another_number_of_tensors_is_refused(count):
    with pytest.raises(BadPartition, match=rf"^1\.pt holds {count} tensors"):
        open_partition(saved([torch.zeros(3)] * count), "1.pt")


@pytest.mark.parametrize("missing", ["images", "magnitudes"])
def test_a_missing_tensor_is_named(missing):
    arrays = dict(zip(("images", "magnitudes", "redshifts"), galaxies(3), strict=True))
    del arrays[missing]
    with pytest.raises(BadPartition, match=f"has no tensor called {missing}"):
        open_partition(save(arrays), "1.safetensors")


def on_disk(folder, data):
    path = folder / "1.pt"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("place", [on_disk, lambda _, data: data], ids=["file", "bytes"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"P", "neither"),
        (b"not a partition at all, only text", "neither"),
        (bytes(100), "neither"),
        (b"PK\x03\x04", "truncated"),
        (b"PK\x03\x04" + bytes(1000), "truncated"),
        (saved([torch.zeros(2)], _use_new_zipfile_serialization=False), "neither a zip"),
        (partition_bytes(*galaxies(2), ".pt")[:-1], "truncated"),
        (partition_bytes(*galaxies(2), ".pt")[:20_000], "truncated"),
        (partition_bytes(*galaxies(2), ".safetensors")[:-1], "truncated"),
        (partition_bytes(*galaxies(2), ".safetensors")[:100], "truncated"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_a_file_that_is_no_partition_is_refused_by_name(tmp_path, place, data, said):
    with pytest.raises(BadPartition, match=rf"^survey/7\.pt.* {said}"):
        open_partition(place(tmp_path, data), "survey/7.pt")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(BadPartition, match=r"^cannot read 1\.pt: No such file"):
        open_partition(tmp_path / "1.pt", "1.pt")
    with pytest.raises(BadPartition, match=r"^2\.pt is not a file"):
        open_partition(tmp_path, "2.pt")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadPartition, match=r"^3\.pt is not a file"):
        open_partition(tmp_path / "pipe", "3.pt")


def sparse_survey(path, samples):
    """A safetensors survey of `samples` galaxies with empty images that takes hardly any room on disk."""
    shapes = {"images": (samples, 5, 32, 32), "magnitudes": (samples, 5), "redshifts": (samples,)}
    header, begin = {}, 0
    for name, shape in shapes.items():
        end = begin + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (begin, end)}
        begin = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + begin)
        file.seek(8 + len(text) + header["magnitudes"]["data_offsets"][0])
        file.write(np.full(samples * 5, 20, np.float32).tobytes())
    return path


def test_opening_a_survey_larger_than_wished_takes_no_memory(tmp_path):
    path = sparse_survey(tmp_path / "survey.safetensors", 100_000)
    assert path.stat().st_size > 2e9
    before = reset_peak_memory()
    assert len(open_partition(path, "survey")) == 100_000
    assert peak_memory_mb() - before < 20


def test_walking_through_a_survey_keeps_one_batch_in_memory(tmp_path):
    survey = open_partition(sparse_survey(tmp_path / "survey.safetensors", 20_000), "survey")
    before = reset_peak_memory()
    assert sum(len(part.images) for _, part in split(survey, 500)) == 20_000
    assert peak_memory_mb() - before < 60, "the survey has 400 MB, a part 10"


@pytest.mark.filterwarnings("error")
def test_a_survey_is_split_into_numbered_partitions_with_nothing_lost(tmp_path):
    arrays = galaxies(10)
    write_partition(tmp_path / "survey.pt", *arrays)
    survey = open_partition(tmp_path / "survey.pt", "survey.pt")
    made = {
        number: open_partition(partition_bytes(part.images, part.magnitudes, part.redshifts, ".pt"), f"{number}.pt")
        for number, part in split(survey, 4)
    }
    assert {number: len(partition) for number, partition in made.items()} == {1: 4, 2: 4, 3: 2}
    for name, whole in zip(("images", "magnitudes", "redshifts"), arrays, strict=True):
        assert_same_bits(np.concatenate([getattr(p, name) for p in made.values()]), whole)


def test_a_partition_holds_its_own_galaxies_and_not_the_whole_survey():
    survey = Partition("survey.pt", *galaxies(40))
    _, part = next(split(survey, 2))
    data = partition_bytes(part.images, part.magnitudes, part.redshifts, ".pt")
    assert len(data) < 3 * BITS_PER_SAMPLE / 8


def test_a_survey_with_a_bad_galaxy_is_refused_when_it_is_split():
    images, magnitudes, redshifts = galaxies(10)
    images[7] = np.nan
    with pytest.raises(BadPartition, match=r"^survey\.pt: sample 7"):
        list(split(Partition("survey.pt", images, magnitudes, redshifts), 4))


@pytest.mark.parametrize(
    ("size", "samples"),
    [
        ("100MB", 5113),
        ("75MB", 3834),
        ("50MB", 2556),
        ("25MB", 1278),
        ("25 mb", 1278),
        ("0.5MB", 25),
        ("1GB", 52_357),
        ("1024MB", 52_357),
        (25, 1278),
        (100.0, 5113),
    ],
)
def test_a_size_holds_as_many_galaxies_as_the_contract_says(size, samples):
    assert samples_of_size(size) == samples


@pytest.mark.parametrize(
    "size",
    [
        "",
        "MB",
        "25",
        "25EB",
        "-1MB",
        "1e3MB",
        "25MB0",
        "\u0662MB",
        "nan MB",
        "0MB",
        "0.01MB",
        0,
        -1,
        float("nan"),
        float("inf"),
        "9" * 5000 + "MB",
    ],
    ids=lambda size: f"{size!r:.12}",
)
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(BadInput) as refusal:
        samples_of_size(size)
    assert len(str(refusal.value)) < 100


@given(st.floats(0.02, 10_000))
def test_a_larger_size_never_holds_fewer_galaxies(size):
    assert samples_of_size(size) <= samples_of_size(size * 1.5)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_write_partition_keeps_the_facts_and_torch_reads_on(tmp_path, suffix):
    facts = SurveyFacts.of_sdss_bands(0.262)
    with_facts, without = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
    survey = galaxies(3)
    write_partition(with_facts, *survey, facts)
    write_partition(without, *survey)
    assert open_partition(with_facts, "1").facts == facts
    assert open_partition(without, "2").facts is None
    np.testing.assert_array_equal(open_partition(with_facts, "1").images, survey[0])
    if suffix == ".pt":
        with torch.serialization.safe_globals([TensorDataset]):
            read = torch.load(with_facts, weights_only=True, mmap=True)
        np.testing.assert_array_equal(read.tensors[0].numpy(), survey[0])
