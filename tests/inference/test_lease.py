import json

import pytest

from inference.errors import StoreError
from inference.lease import Lease
from inference.store import Store


@pytest.fixture
def lease(tmp_path):
    def of(holder):
        return Lease(Store(tmp_path), "cosmicai-test", ".cosmic/lease.json", holder)

    return of


def test_one_holder_at_a_time_and_the_other_is_told_who_and_how_long(lease):
    lease("one").take(60)
    with pytest.raises(StoreError, match=r"run one holds this bucket for (59|60) s"):
        lease("two").take(60)


def test_the_same_holder_renews(lease):
    lease("one").take(1)
    lease("one").take(60)
    with pytest.raises(StoreError, match=r"for (59|60) s"):
        lease("two").take()


def test_what_is_released_can_be_taken(lease):
    lease("one").take()
    lease("one").release()
    lease("two").take()


def test_another_holders_lease_is_not_released(lease):
    lease("one").take()
    lease("two").release()
    with pytest.raises(StoreError, match="run one"):
        lease("two").take()


def test_a_release_without_a_lease_is_nothing(lease):
    lease("one").release()


def test_an_expired_lease_is_nobodys(lease):
    lease("one").take(-1)
    lease("two").take(60)
    with pytest.raises(StoreError, match="run two"):
        lease("one").take()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"holder": "one", "expires": "soon"}'])
def test_a_damaged_lease_is_nobodys(lease, damage):
    first = lease("two")
    first.store.write(first.bucket, first.key, damage)
    first.take()
    assert json.loads(first.store.read(first.bucket, first.key))["holder"] == "two"
