import threading

import pytest

from inference.storage.prefetch import prefetch


def test_results_come_in_the_order_of_the_items():
    second_is_read = threading.Event()

    def read(item):
        if item == 0:
            assert second_is_read.wait(60)
        if item == 1:
            second_is_read.set()
        return item * 10

    assert list(prefetch(read, range(50), readers=4)) == [item * 10 for item in range(50)]


def test_no_more_is_read_than_somebody_will_soon_take():
    begun = []

    def read(item):
        begun.append(item)
        return item

    found = prefetch(read, range(10_000), readers=4)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    assert len(begun) <= 3 + 2 * 4
    found.close()
    assert len(begun) <= 3 + 2 * 4


def test_an_error_is_raised_in_its_items_place_and_ends_the_reading():
    begun = []

    def read(item):
        begun.append(item)
        if item == 5:
            raise ValueError("the fifth")
        return item

    taken = []
    with pytest.raises(ValueError, match="the fifth"):
        for found in prefetch(read, range(10_000), readers=2):
            taken.append(found)
    assert taken == [0, 1, 2, 3, 4]
    assert len(begun) <= 5 + 2 * 2


def test_nothing_to_read_is_nothing_found():
    assert list(prefetch(lambda item: item, [])) == []
