import pytest

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.aws.function_configuration import memory_of
from tasks.sweep_steps import memory_kept, set_memory

FUNCTION = "cosmic-executor"
SIZES = {512, 1769, 3008}
pytestmark = pytest.mark.slow


@pytest.fixture
def kept(tmp_path):
    """What a sweep holds its function's memory by, as often as it is asked."""
    return lambda: memory_kept(FUNCTION, Store(tmp_path), "cosmicai-test", "memory.json", SIZES)


def test_a_function_gets_the_memory_asked_for(stack, kept):
    with kept():
        for memory_mb in (1769, 3008, 3008):
            set_memory.fn(FUNCTION, memory_mb)
            assert memory_of(FUNCTION) == memory_mb


def test_a_sweep_that_fails_leaves_the_memory_as_it_was(stack, kept):
    before = memory_of(FUNCTION)
    with pytest.raises(ZeroDivisionError), kept():
        set_memory.fn(FUNCTION, 512)
        raise ZeroDivisionError
    assert memory_of(FUNCTION) == before


def test_a_sweep_after_a_killed_one_knows_the_memory_that_was_before(stack, kept):
    before = memory_of(FUNCTION)
    killed = kept()  # of which nothing runs any more
    killed.__enter__()
    set_memory.fn(FUNCTION, 512)
    with kept():
        set_memory.fn(FUNCTION, 1769)
    assert memory_of(FUNCTION) == before


def test_a_memory_that_somebody_gave_after_a_killed_sweep_stays(stack, kept):
    with kept():
        killed = kept()
        killed.__enter__()
        set_memory.fn(FUNCTION, 640)
        with kept():
            set_memory.fn(FUNCTION, 512)
        assert memory_of(FUNCTION) == 640


def test_sweep_that_another_one_took_over_leaves_it_the_memory(stack, kept):
    before = memory_of(FUNCTION)
    asleep, successor = kept(), kept()
    asleep.__enter__()
    set_memory.fn(FUNCTION, 512)
    with successor:
        set_memory.fn(FUNCTION, 1769)
        asleep.__exit__(None, None, None)  # it wakes, and finds that its lease is gone
        assert memory_of(FUNCTION) == 1769
        with kept():  # which finds the successor's note, as if that one were killed now
            pass
        assert memory_of(FUNCTION) == before


def test_sweep_whose_note_is_damaged_leaves_the_memory_as_it_was(stack, kept, tmp_path):
    before = memory_of(FUNCTION)
    with kept():
        set_memory.fn(FUNCTION, 512)
        (tmp_path / "cosmicai-test" / "memory.json").write_text("{")
    assert memory_of(FUNCTION) == before


def test_a_function_that_is_not_there_is_named(stack):
    with pytest.raises(BadInput, match="there is no function other"):
        memory_of("other")
    with pytest.raises(BadInput, match="there is no function other"):
        set_memory.fn("other", 512)
