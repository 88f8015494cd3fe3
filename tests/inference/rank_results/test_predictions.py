import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from inference.errors import BadInput
from inference.rank_results.predictions import COLUMNS, Predictions, decode
from tests.support.wire_examples import EVENT

NAME = "results/test/predictions/3.1-abc.safetensors"


def predictions_of(batches):
    """Batches (file, start, count, whether redshifts are known) with redshifts that tell their place."""
    made = Predictions()
    for file, start, count, known in batches:
        made.add(file, start, np.arange(start, start + count) / 8, np.arange(count) + 0.5 if known else None)
    return made


SMALL = predictions_of([("survey/1.pt", 0, 3, True), ("survey/2.pt", 0, 2, False)]).encode(EVENT)


def columns(count=4, **changes):
    return {name: np.zeros(count, dtype) for name, dtype in COLUMNS.items()} | changes


def refused(data):
    with pytest.raises(BadInput) as raised:
        decode(data, NAME)
    assert NAME in str(raised.value)
    return str(raised.value)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a/1.pt", "a/2.pt", "b/ü.pt"]), st.integers(0, 2**40), st.integers(1, 70)),
        min_size=1,
        max_size=6,
    )
)
def test_what_was_added_comes_back_in_order(batches):
    made = predictions_of([(*batch, number % 2 == 0) for number, batch in enumerate(batches)])
    files, found = decode(made.encode(EVENT), NAME)
    assert made.samples == len(found["index"]) == sum(count for _, _, count in batches)
    assert [files[number] for number in found["file"]] == [file for file, _, n in batches for _ in range(n)]
    assert found["index"].tolist() == [start + step for _, start, n in batches for step in range(n)]
    expected = np.concatenate([np.arange(start, start + n) / 8 for _, start, n in batches])
    np.testing.assert_array_equal(found["z_pred"], expected.astype(np.float32))


def test_further_columns_come_back_with_their_types():
    more = {"z_err": np.ones(3, np.float32), "embedding": np.arange(6.0).reshape(3, 2), "is_star": np.zeros(3, bool)}
    made = Predictions()
    made.add("1.pt", 0, np.zeros(3), None, None, more)
    made.add("1.pt", 3, np.zeros(3), None, None, more)
    _, found = decode(made.encode(EVENT), NAME)
    assert set(found) == {*COLUMNS, *more}
    for name, values in more.items():
        np.testing.assert_array_equal(found[name], np.concatenate([values, values]))
        assert found[name].dtype == values.dtype


def test_an_unknown_redshift_is_nan_and_a_known_one_keeps_its_digits():
    made = Predictions()
    made.add("1.pt", 0, np.zeros(2, np.float32), np.array([[0.1], [1 / 3]]))
    made.add("1.pt", 2, np.zeros(1, np.float32), None)
    files, found = decode(made.encode(EVENT), NAME)
    assert files == ["1.pt"], "a file is listed once, however many batches it has"
    np.testing.assert_array_equal(found["z_spec"], [0.1, 1 / 3, np.nan])


def test_the_header_names_fingerprint_and_model():
    data = predictions_of([("1.pt", 0, 1, True)]).encode(dataclasses.replace(EVENT, fingerprint="print"))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"] == {
        "fingerprint": "print",
        "model_sha256": EVENT.model_sha256,
        "files": '["1.pt"]',
    }


def test_every_truncation_is_refused_by_name():
    for length in range(len(SMALL)):
        refused(SMALL[:length])


def test_any_flipped_bit_is_refused_or_reads_as_columns_of_one_length():
    for place in range(len(SMALL)):
        for bit in range(8):
            data = bytearray(SMALL)
            data[place] ^= 1 << bit
            try:
                files, found = decode(bytes(data), NAME)
            except BadInput:
                continue
            assert all(isinstance(file, str) for file in files)
            assert {array.shape for array in found.values()} == {(5,)}


@settings(max_examples=3 * settings.default.max_examples)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    refused(data)


@pytest.mark.parametrize(
    "files",
    [
        "7",
        "null",
        '"survey/1.pt"',
        '{"0": "1.pt"}',
        "[1]",
        '["1.pt", null]',
        "[]",
        "{",
        '["\\ud800"]',
        "[" * 20_000,
        "",
    ],
)
def test_a_list_of_files_that_is_no_list_of_text_is_refused(files):
    refused(save(columns(), {"files": files}))


@pytest.mark.parametrize(
    "changes",
    [
        {"z_pred": np.zeros(4, np.float64)},
        {"z_pred": np.zeros(4, np.float16)},
        {"file": np.zeros(4, np.uint32)},
        {"z_spec": np.zeros(3)},
        {"z_err": np.zeros(3)},
        {"embedding": np.zeros((4, 2, 2))},
        {"embedding": np.zeros((4, 0))},
        {"a b": np.zeros(4)},
        {"rank": np.zeros(4)},
        {"file": np.full(4, 1, np.int32)},
        {"file": np.full(4, -1, np.int32)},
    ],
)
def test_columns_of_other_types_lengths_or_files_are_refused(changes):
    refused(save(columns(**changes), {"files": '["1.pt"]'}))


@pytest.mark.parametrize("shape", [(), (0,), (4, 1)])
def test_columns_that_are_no_row_of_numbers_are_refused(shape):
    refused(save({name: np.zeros(shape, dtype) for name, dtype in COLUMNS.items()}, {"files": '["1.pt"]'}))


def test_a_missing_column_or_a_missing_list_of_files_is_refused():
    whole = columns()
    refused(save({name: whole[name] for name in ("file", "index")}, {"files": '["1.pt"]'}))
    refused(save(whole))
    refused(save(whole, {"fingerprint": "f"}))


def test_a_type_that_numpy_does_not_have_is_refused():
    data = save(columns(), {"files": '["1.pt"]'})
    assert data.count(b'"F32"') == 2
    for other in (b'"F8_E5M2"', b'"BF16"'):
        swapped = data.replace(b'"F32"', other, 1)
        grown = len(swapped) - len(data)
        refused((int.from_bytes(data[:8], "little") + grown).to_bytes(8, "little") + swapped[8:])


def test_predictions_of_older_versions_have_unknown_magnitudes():
    older = {name: values for name, values in columns(4).items() if name != "mag_r"}
    _, found = decode(save(older, {"files": '["1.pt"]'}), "a file")
    assert np.isnan(found["mag_r"]).all()
    assert found["mag_r"].dtype == np.float32


def test_columns_of_thousands_of_axes_are_refused():
    header = f'{{"z_pred":{{"dtype":"F32","shape":[{",".join(["1"] * 5_000)}],"data_offsets":[0,4]}}}}'.encode()
    with pytest.raises(BadInput, match="p is not a predictions file"):
        decode(len(header).to_bytes(8, "little") + header + bytes(4), "p")
