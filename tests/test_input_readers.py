"""Whatever comes in by any door of the house is taken or refused in a sentence: no other error, hang or blow-up."""

import random
import resource
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import CosmicError
from tests.support.input_readers import DOORS

HANGS_AFTER_S = 60
ROOM = 2 << 30  # bytes; the good things are some kilobytes long
SEEDS = st.integers(0, 2**64 - 1)


@contextmanager
def watched():
    """Ends what hangs, and lets nothing take more memory than ROOM."""

    def stop(*_):
        raise AssertionError(f"still not answered after {HANGS_AFTER_S} s")

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


def knock(name, data, folder):
    """Bring data to a door; only a refusal in one sentence that anything can show is let pass."""
    inside = folder / "a" / "b" / "c"
    inside.mkdir(parents=True, exist_ok=True)
    with watched():
        try:
            DOORS[name].enter(inside, data)
        except CosmicError as error:
            told = str(error)
            assert told.isprintable(), repr(told)
            assert 0 < len(told) < 1_000, told
    for place in (folder, folder / "a", folder / "a" / "b"):
        assert len(list(place.iterdir())) == 1, "something was written beside the folder"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("doors")


@pytest.mark.parametrize("name", DOORS)
def test_a_good_thing_comes_in(name, tmp_path):
    with suppress(CosmicError) if name == "summary function" else watched():  # it finds no rank done
        DOORS[name].enter(tmp_path, DOORS[name].whole())


@pytest.mark.parametrize("name", DOORS)
@settings(max_examples=100)
@given(seed=SEEDS)
def test_what_was_harmed_is_taken_or_refused_in_one_sentence(folder, name, seed):
    knock(name, DOORS[name].harmed(random.Random(seed)), folder)


@pytest.mark.soak
@pytest.mark.parametrize("name", DOORS)
def test_however_often_it_is_tried(folder, name):
    """New seeds each time; the one that breaks is told, and goes into `knock` by hand."""
    first = random.SystemRandom().randrange(2**63)
    print(f"{name}: seeds {first} and following")
    for seed in range(first, first + 5_000):
        try:
            knock(name, DOORS[name].harmed(random.Random(seed)), folder)
        except BaseException as error:
            raise AssertionError(f"{name}, seed {seed}") from error
