import gc
import io
import json
import tempfile
import threading
import time
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from torch.utils.data import TensorDataset

from benchmarks.support.slow_s3 import CUT, ENVIRONMENT, SlowS3
from inference.contract.survey_facts import SurveyFacts
from inference.engines.load import open_engine
from inference.errors import BadInput, BadPartition, StoreError
from inference.partitions import access as stream
from inference.partitions.access import ACCESS, default_access, open_access, read_facts
from inference.partitions.partition import open_partition, partition_bytes
from inference.resource_usage import peak_memory_mb, reset_peak_memory
from inference.storage.store import Store
from tests.support.surveys import random_survey

BUCKET, KEY = "cosmicai-test", "survey/1.pt"
WAYS = pytest.mark.parametrize("access", ACCESS)
FORMATS = pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
STEP = 1 << 16  # bytes of a range under `short_ranges`: three galaxies


class ScriptedS3(SlowS3):
    """A store whose answers a test may hold up, spoil or refuse."""

    script = staticmethod(lambda span, headers: None)

    def before(self, span, headers):
        return self.script(span, headers)

    def put(self, data):
        self.objects[f"{BUCKET}/{KEY}"] = data


@pytest.fixture
def s3(monkeypatch):
    with ScriptedS3({}).serving() as server:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server.url}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        yield server


def shorten(patch):
    patch.setattr(stream, "SMALL", 1 << 14)
    patch.setattr(stream, "RANGE", STEP)
    patch.setattr(stream, "AHEAD", STEP)
    patch.setattr(stream, "CHUNK", 1 << 12)
    for name, size in (("_LEAD", 1 << 13), ("_HEAD", 1 << 12), ("_TAIL", 1 << 12)):
        patch.setattr(stream, name, size)


@pytest.fixture
def short_ranges(monkeypatch):
    """Ranges of three galaxies, so that small partitions have many."""
    shorten(monkeypatch)


def opened(access, store=None):
    store = store or Store("s3://")
    return open_access(store, BUCKET, KEY, store.head(BUCKET, KEY), access)


def walked(partition, batch_size):
    """What all batches hold, put together."""
    batches = list(partition.batches(batch_size))
    assert [batch.start for batch in batches] == list(range(0, len(partition), batch_size))
    images, magnitudes = (np.concatenate([getattr(b, name) for b in batches]) for name in ("images", "magnitudes"))
    redshifts = None if batches[0].redshifts is None else np.concatenate([b.redshifts for b in batches])
    return images, magnitudes, redshifts


def assert_same_bits(found, wanted):
    for left, right in zip(found, wanted, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == right.dtype
            assert left.shape == right.shape
            assert left.tobytes() == right.tobytes()


def assert_all_threads_end():
    for thread in threading.enumerate():
        if thread.name == "cosmic-stream":
            thread.join(30)
            assert not thread.is_alive()


@settings(max_examples=15, deadline=None)
@given(
    samples=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    suffix=st.sampled_from([".pt", ".safetensors"]),
    magnitudes=st.sampled_from([np.float32, np.float64]),
    redshifts=st.sampled_from([np.float32, np.float64, None]),
)
def test_every_way_gives_the_same_galaxies_bit_for_bit(
    tmp_path_factory, samples, batch_size, suffix, magnitudes, redshifts
):
    arrays = random_survey(samples)
    arrays = (
        arrays[0],
        arrays[1].astype(magnitudes),
        None if redshifts is None else arrays[2].astype(redshifts),
    )
    data = partition_bytes(*arrays, suffix)
    local = Store(tmp_path_factory.mktemp("store"))
    local.write(BUCKET, KEY, data)
    with pytest.MonkeyPatch.context() as patch, ScriptedS3({}).serving() as server:
        shorten(patch)
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server.url}).items():
            patch.setenv(name, value)
        server.put(data)
        for store in (local, Store("s3://")):
            for access in ACCESS:
                server.gets.clear()
                partition = opened(access, store)
                assert_same_bits(walked(partition, batch_size), arrays)
                if access == "stream" and not store.is_local and len(data) > STEP:
                    assert None not in server.gets, "it was read whole"


@FORMATS
def test_every_way_gives_the_same_predictions(s3, short_ranges, tiny_weights, suffix):
    s3.put(partition_bytes(*random_survey(30), suffix))
    engine = open_engine("onnxruntime", tiny_weights)
    predicted = [
        np.concatenate([engine.predict(b.images, b.magnitudes) for b in opened(access).batches(8)]).tobytes()
        for access in ACCESS
    ]
    assert len(set(predicted)) == 1


def test_the_default_maps_a_local_file_and_streams_from_s3(tmp_path, s3):
    assert default_access(Store(tmp_path)) == "memory-map"
    assert default_access(Store("s3://")) == "stream"


@FORMATS
def test_a_batch_is_handed_over_while_later_ones_have_not_been_sent(s3, short_ranges, suffix):
    arrays = random_survey(40)
    s3.put(partition_bytes(*arrays, suffix))
    handed_over, impatient = threading.Event(), []
    end = len(s3.objects[f"{BUCKET}/{KEY}"])

    def script(span, headers):
        if 5 * STEP < span[0] < end - 2 * STEP and not handed_over.wait(30):
            impatient.append(span)

    s3.script = script
    batches = opened("stream").batches(3)
    first = next(batches)
    assert max(span[0] for span in s3.gets if span[1] != end) < end - 2 * STEP, "the last range was asked for"
    handed_over.set()
    assert_same_bits([np.concatenate([first.images, *(batch.images for batch in batches)])], arrays[:1])
    assert not impatient


def test_a_range_is_read_while_it_arrives(s3, monkeypatch):
    arrays = random_survey(300)
    monkeypatch.setattr(stream, "SMALL", 1 << 16)
    s3.put(partition_bytes(*arrays, ".safetensors"))
    handed_over, waited = threading.Event(), []
    carry = s3.wait_for

    def slowly(count):
        if sum(waited) > 3_000_000:
            assert handed_over.wait(30)
        waited.append(count)
        carry(count)

    s3.wait_for = slowly
    batches = opened("stream").batches(50)
    next(batches)
    handed_over.set()
    assert sum(len(batch.images) for batch in batches) == 250
    assert len(s3.gets) == 2, "the tail and one range"


def test_a_partition_takes_few_requests_and_its_bytes_travel_once(s3):
    data = partition_bytes(*random_survey(1278), ".pt")
    s3.put(data)
    store = Store("s3://")
    store.requests = []
    assert sum(len(batch.images) for batch in opened("stream", store).batches(128)) == 1278
    assert len(s3.gets) == 3
    assert len(store.requests) == 4, "with the look-up"
    moved = sum(request.bytes_read for request in store.requests)
    assert len(data) <= moved < 1.01 * len(data)


class SlowLedger(list):
    def append(self, request):
        time.sleep(0.1)
        super().append(request)


def test_every_request_is_metered_before_the_walk_ends(s3, short_ranges):
    data = partition_bytes(*random_survey(12), ".pt")
    s3.put(data)
    store = Store("s3://")
    store.requests = SlowLedger()
    assert len(list(opened("stream", store).batches(5))) == 3
    assert sum(request.bytes_read for request in store.requests) >= len(data)


def test_a_small_object_is_downloaded_in_one_request(s3):
    s3.put(partition_bytes(*random_survey(100), ".pt"))
    assert len(list(opened("stream").batches(10))) == 10
    assert s3.gets == [None]


def test_downloading_is_one_request_and_all_of_it_is_metered(s3):
    data = partition_bytes(*random_survey(300), ".pt")
    s3.put(data)
    store = Store("s3://")
    store.requests = []
    opened("download", store)
    assert s3.gets == [None]
    assert [request.bytes_read for request in store.requests] == [0, len(data)]


def test_a_streamed_partition_can_be_walked_twice_in_any_batches(s3, short_ranges):
    arrays = random_survey(40)
    s3.put(partition_bytes(*arrays, ".pt"))
    partition = opened("stream")
    for batch_size in (1, 7, 40, 3):
        assert_same_bits(walked(partition, batch_size), arrays)


def test_batches_larger_than_any_range_are_put_together(s3, short_ranges):
    arrays = random_survey(60)
    s3.put(partition_bytes(*arrays, ".safetensors"))
    assert_same_bits(walked(opened("stream"), 25), arrays)


def test_arriving_images_are_not_read_backwards(s3, short_ranges):
    s3.put(partition_bytes(*random_survey(10), ".pt"))
    with pytest.raises(IndexError, match="in order"):
        opened("stream").images[::-1]


def reordered(data, first):
    """The zip with the entry that ends so put first and the index in the middle of the file."""
    source = zipfile.ZipFile(io.BytesIO(data))
    names = sorted(source.namelist(), key=lambda name: (not name.endswith(first), name))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:
        for name in names:
            out.writestr(name, source.read(name))
        out.writestr("archive/padding", bytes(3 * STEP))
    return file.getvalue()


def test_an_index_in_the_middle_of_the_file_is_found(s3, short_ranges):
    arrays = random_survey(20)
    s3.put(reordered(partition_bytes(*arrays, ".pt"), "data/0"))
    assert_same_bits(walked(opened("stream"), 6), arrays)
    assert None in s3.gets, "this layout needs the whole file"


def test_magnitudes_in_the_middle_of_the_file_are_found(s3, short_ranges):
    images, magnitudes, redshifts = random_survey(20)
    magnitudes, redshifts = magnitudes.astype(np.float32), redshifts.astype(np.float32)
    tensors = {"images": images, "magnitudes": magnitudes, "redshifts": redshifts, "zeros": np.zeros(STEP, np.float32)}
    s3.put(save(tensors))
    assert_same_bits(walked(opened("stream"), 6), (images, magnitudes, redshifts))
    assert None not in s3.gets


def test_images_after_the_magnitudes_and_redshifts_in_a_column_are_found(s3, short_ranges):
    images, magnitudes, redshifts = random_survey(20)
    dataset = TensorDataset(*map(torch.from_numpy, (images, magnitudes, redshifts[:, None])))
    file = io.BytesIO()
    torch.save(dataset, file)
    s3.put(file.getvalue())
    assert_same_bits(walked(opened("stream"), 6), (images, magnitudes, redshifts))


@pytest.mark.parametrize("access", ["", "mmap", "Stream", None])
def test_another_access_is_refused_by_name(tmp_path, access):
    store = Store(tmp_path)
    store.write(BUCKET, KEY, b"data")
    with pytest.raises(BadInput, match=f"access must be one of download, stream, memory-map, not {access!r}"):
        opened(access, store)


@WAYS
def test_an_empty_object_is_refused_by_name(s3, tmp_path, access):
    s3.put(b"")
    local = Store(tmp_path)
    local.write(BUCKET, KEY, b"")
    for store in (local, Store("s3://")):
        with pytest.raises(BadPartition, match=r"^survey/1\.pt is empty$"):
            opened(access, store)


@WAYS
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: data[:100] + bytes(len(data) - 100),
    ],
    ids=["less a byte", "half", "zeros", "only a beginning"],
)
@FORMATS
def test_a_damaged_object_is_refused_in_the_same_words_on_every_way(s3, short_ranges, access, spoil, suffix):
    data = spoil(partition_bytes(*random_survey(12), suffix))
    s3.put(data)
    with pytest.raises(BadPartition) as known:
        open_partition(data, KEY)
    with pytest.raises(BadPartition) as caught:
        opened(access)
    assert str(caught.value) == str(known.value)
    assert_all_threads_end()


def later(then):
    """A script that does `then` before the fourth GET is answered: the stream is under way."""
    asked = []

    def script(span, headers):
        asked.append(span)
        return then(headers) if len(asked) >= 4 else None

    return script


@pytest.mark.parametrize("samples", [39, 40, 41], ids=["shorter", "as long", "longer"])
@pytest.mark.parametrize("if_match", [True, False], ids=["a store with If-Match", "a store without"])
def test_an_object_replaced_under_way_is_refused_and_never_mixed(s3, short_ranges, samples, if_match):
    s3.put(partition_bytes(*random_survey(40), ".pt"))

    def replace(headers):
        s3.put(partition_bytes(*random_survey(samples, seed=1), ".pt"))
        if not if_match:
            del headers["If-Match"]

    s3.script = later(replace)
    seen = []
    with pytest.raises(BadPartition, match=r"^the partition survey/1\.pt has changed since the run was planned$"):
        seen += (batch.images for batch in opened("stream").batches(2))
    if seen:
        assert_same_bits([np.concatenate(seen)], [random_survey(40)[0][: 2 * len(seen)]])
    assert_all_threads_end()


@WAYS
def test_an_object_replaced_since_it_was_looked_up_is_refused(s3, access):
    store = Store("s3://")
    s3.put(partition_bytes(*random_survey(3), ".pt"))
    stored = store.head(BUCKET, KEY)
    s3.put(partition_bytes(*random_survey(3, seed=1), ".pt"))
    with pytest.raises(BadPartition, match=r"survey/1\.pt has changed"):
        open_access(store, BUCKET, KEY, stored, access)


def test_a_local_file_replaced_under_way_is_refused(tmp_path, short_ranges):
    store = Store(tmp_path)
    store.write(BUCKET, KEY, partition_bytes(*random_survey(100), ".pt"))
    batches = opened("stream", store).batches(2)
    next(batches)
    store.write(BUCKET, KEY, partition_bytes(*random_survey(100, seed=1), ".pt"))
    with pytest.raises(BadPartition, match=r"survey/1\.pt has changed"):
        list(batches)


def test_an_object_deleted_under_way_is_named(s3, short_ranges):
    s3.put(partition_bytes(*random_survey(40), ".pt"))
    s3.script = later(lambda headers: s3.objects.clear())
    with pytest.raises(BadPartition, match=rf"^the partition survey/1\.pt is gone from {BUCKET}$"):
        list(opened("stream").batches(2))
    assert_all_threads_end()


def test_a_refusal_under_way_names_bucket_and_key(s3, short_ranges):
    s3.put(partition_bytes(*random_survey(40), ".pt"))
    s3.script = later(lambda headers: 403)
    with pytest.raises(StoreError, match=rf"^cannot read {BUCKET}/survey/1\.pt: access denied"):
        list(opened("stream").batches(2))
    assert_all_threads_end()


def test_a_connection_cut_once_is_taken_up_where_it_broke(s3, short_ranges):
    arrays = random_survey(40)
    s3.put(partition_bytes(*arrays, ".pt"))
    cuts = [CUT]
    s3.script = later(lambda headers: cuts.pop() if cuts else None)
    assert_same_bits(walked(opened("stream"), 7), arrays)
    assert not cuts


@pytest.mark.slow
@WAYS
def test_a_connection_that_keeps_breaking_fails_with_bucket_and_key(s3, short_ranges, access):
    s3.put(partition_bytes(*random_survey(40), ".pt"))
    s3.script = lambda span, headers: CUT
    with pytest.raises(StoreError, match=rf"^cannot read {BUCKET}/survey/1\.pt: "):
        list(opened(access).batches(2))
    assert_all_threads_end()


def test_a_galaxy_that_is_not_finite_ends_the_walk_and_the_fetching(s3, short_ranges):
    arrays = random_survey(100)
    arrays[0][3] = np.nan
    s3.put(partition_bytes(*arrays, ".pt"))
    with pytest.raises(BadPartition, match=r"^survey/1\.pt: sample 3 has NaN or infinite pixels$"):
        list(opened("stream").batches(2))
    assert_all_threads_end()
    assert len(s3.gets) < 10, "of more than thirty"


def test_a_partition_let_go_ends_its_requests(s3, monkeypatch):
    monkeypatch.setattr(stream, "SMALL", 1 << 16)
    s3.put(partition_bytes(*random_survey(300), ".pt"))
    store = Store("s3://")
    store.requests = []
    let_go = threading.Event()
    sent = []
    carry = s3.wait_for

    def held_up(count):
        if sum(sent) > 3_000_000:
            let_go.wait(10)
        sent.append(count)
        carry(count)

    s3.wait_for = held_up
    partition = opened("stream", store)
    next(partition.batches(20))
    del partition
    gc.collect()
    let_go.set()
    assert_all_threads_end()
    assert len(store.requests) == 2, "the look-up and the tail: the range was given up"


def test_a_copy_in_the_scratch_folder_is_gone_but_for_its_pages(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arrays = random_survey(30)
    s3.put(partition_bytes(*arrays, ".pt"))
    partition = opened("memory-map")
    assert list(tmp_path.iterdir()) == []
    s3.objects.clear()
    assert_same_bits(walked(partition, 7), arrays)
    assert len(s3.gets) == 1


def test_a_scratch_folder_that_takes_nothing_is_named(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    s3.put(partition_bytes(*random_survey(3), ".pt"))
    with pytest.raises(StoreError, match=rf"^cannot copy {BUCKET}/survey/1\.pt to {tmp_path}/none: No such file"):
        opened("memory-map")


def test_memory_mapping_a_local_file_reads_nothing_through_the_store(tmp_path):
    store = Store(tmp_path)
    arrays = random_survey(3)
    store.write(BUCKET, KEY, partition_bytes(*arrays, ".pt"))
    store.requests = []
    assert_same_bits(walked(opened("memory-map", store), 2), arrays)
    assert sum(request.bytes_read for request in store.requests) == 0


def large_partition(samples):
    """A safetensors partition of empty images, made without a second copy of it."""
    header, begin = {}, 0
    for name, shape in {"images": (samples, 5, 32, 32), "magnitudes": (samples, 5), "redshifts": (samples,)}.items():
        end = begin + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (begin, end)}
        begin = end
    text = json.dumps(header).encode()
    data = bytearray((len(text).to_bytes(8, "little") + text).ljust(8 + len(text) + begin, b"\0"))
    first, last = (8 + len(text) + end for end in header["magnitudes"]["data_offsets"])
    data[first:last] = np.full(samples * 5, 20, np.float32).tobytes()
    return bytes(data)


@pytest.mark.parametrize("access", ["stream", "memory-map"])
def test_a_large_partition_is_not_in_memory_as_a_whole(s3, access):
    s3.put(large_partition(10_000))
    before = reset_peak_memory()
    assert sum(len(batch.images) for batch in opened(access).batches(128)) == 10_000
    assert peak_memory_mb() - before < 100, "of 205 MB"


@FORMATS
def test_read_facts_reads_the_ends_of_a_remote_partition_alone(s3, monkeypatch, suffix):
    shorten(monkeypatch)
    facts = SurveyFacts.of_sdss_bands(0.262)
    data = partition_bytes(*random_survey(40), suffix, facts)
    s3.put(data)
    store = Store("s3://")
    store.requests = []
    assert read_facts(store, BUCKET, KEY, store.head(BUCKET, KEY)) == facts
    assert sum(request.bytes_read for request in store.requests) < len(data) // 10
