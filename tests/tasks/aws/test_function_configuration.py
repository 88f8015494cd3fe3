import pytest

from inference.errors import BadInput
from tasks.aws.function_configuration import memory_of
from tasks.sweep_steps import memory_kept, set_memory

FUNCTION = "cosmic-executor"
pytestmark = pytest.mark.slow


def test_a_function_gets_the_memory_asked_for(stack):
    with memory_kept(FUNCTION):
        for memory_mb in (1769, 3008, 3008):
            set_memory.fn(FUNCTION, memory_mb)
            assert memory_of(FUNCTION) == memory_mb


def test_a_sweep_that_fails_leaves_the_memory_as_it_was(stack):
    before = memory_of(FUNCTION)
    with pytest.raises(ZeroDivisionError), memory_kept(FUNCTION):
        set_memory.fn(FUNCTION, 512)
        raise ZeroDivisionError
    assert memory_of(FUNCTION) == before


def test_a_function_that_is_not_there_is_named(stack):
    with pytest.raises(BadInput, match="there is no function other"):
        memory_of("other")
    with pytest.raises(BadInput, match="there is no function other"):
        set_memory.fn("other", 512)
