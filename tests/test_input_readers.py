"""Every reader of input from outside accepts it or refuses it in one sentence: no other error, no hang, no blow-up."""

import json
import random
import re
import resource
import signal
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import CosmicError
from tests.support.input_readers import READERS

HANGS_AFTER_S = 60
ROOM = 4 << 30  # bytes; the valid inputs have some kilobytes
SEEDS = st.integers(0, 2**64 - 1)
JSON_READERS = [name for name, reader in READERS.items() if reader.is_json]


@contextmanager
def watched():
    """End what hangs, and let nothing take more memory than ROOM."""

    def stop(*_):
        raise AssertionError(f"no answer after {HANGS_AFTER_S} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    left = signal.alarm(HANGS_AFTER_S)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)
        signal.alarm(left)


@cache
def start_libraries(name):
    """Read the valid input without a limit: a library that reserves memory for its threads under one may abort."""
    with TemporaryDirectory() as folder, suppress(CosmicError):
        inside = Path(folder) / "a" / "b" / "c"
        inside.mkdir(parents=True)
        READERS[name].read(inside, READERS[name].encoded())


def refusal_of(name, data, folder):
    """Give data to a reader; return its refusal, which must be one printable sentence, or None."""
    inside = folder / "a" / "b" / "c"
    inside.mkdir(parents=True, exist_ok=True)
    refusal = None
    start_libraries(name)
    with watched():
        try:
            READERS[name].read(inside, data)
        except CosmicError as error:
            refusal = error
            assert str(error).isprintable(), repr(str(error))
            assert 0 < len(str(error)) < 1_000, error
    for place in (folder, folder / "a", folder / "a" / "b"):
        assert len(list(place.iterdir())) == 1, "something was written beside the folder"
    return refusal


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


@pytest.mark.parametrize("name", READERS)
def test_reader_accepts_its_valid_input(name, folder):
    refusal = refusal_of(name, READERS[name].encoded(), folder)
    assert refusal is None or type(refusal) is READERS[name].ends_in, refusal


def duplicated(document):
    """The document as JSON, with the first key of its first object written twice, or another that has one."""
    text = json.dumps(document)
    if "{" not in text:
        return b'{"a": 1, "a": 2}'
    start = text.index("{") + 1
    key = json.loads(re.match(r'"(?:[^"\\]|\\.)*"', text[start:])[0])
    return f"{text[:start]}{json.dumps(key)}: null, {text[start:]}".encode()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (duplicated, "twice"),
        (lambda _: b"[" * 100_000 + b"]" * 100_000, "deep|YAML"),
        (lambda _: b'{"a":' * 100_000, "deep|YAML"),
        (lambda _: b"[" * 150 + b"]" * 150, "deep|list|mapping|must be|no plan|object"),
        (lambda document: json.dumps(document).encode()[:-1], "JSON|YAML"),
        (lambda _: b"", "JSON|must be"),
        (lambda _: b"\xff\xfe\xff", "JSON|YAML"),
    ],
    ids=["duplicate key", "deep list", "deep object", "150 levels", "truncated", "empty", "no text"],
)
@pytest.mark.parametrize("name", JSON_READERS)
def test_json_reader_refuses_damaged_input(name, damage, expected, folder):
    reader = READERS[name]
    refusal = refusal_of(name, damage(reader.valid), folder)
    if reader.refuses:
        assert refusal is not None and re.search(expected, str(refusal)), refusal
    else:
        assert refusal is None or type(refusal) is reader.ends_in, refusal


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.is_file])
def test_reader_of_a_file_answers_in_a_sentence_when_it_is_absent(name, folder):
    refusal_of(name, None, folder)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=50)  # `make soak` tries five thousand
@given(seed=SEEDS)
def test_reader_accepts_or_refuses_corrupted_input(folder, name, seed):
    refusal_of(name, READERS[name].corrupted(random.Random(seed)), folder)


@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_reader_accepts_or_refuses_corrupted_input_for_long(folder, name):
    """New seeds each time; the one that breaks is named, to be repeated by hand."""
    first = random.SystemRandom().randrange(2**63)
    print(f"{name}: seeds {first} and following")
    for seed in range(first, first + 5_000):
        try:
            refusal_of(name, READERS[name].corrupted(random.Random(seed)), folder)
        except BaseException as error:
            raise AssertionError(f"{name}, seed {seed}") from error
