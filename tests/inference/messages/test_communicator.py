"""`fmi` over each way of messages: every rank is a thread with a communicator of its own."""

import dataclasses
import functools
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.contract.messages import Meeting
from inference.errors import BadInput, RankFailed
from inference.messages import rendezvous
from inference.messages.for_scripts import fmi
from inference.messages.rendezvous import say_failed
from inference.messages.tcp import TcpTransport
from inference.storage.store import Store
from tests.support.redis_server import serving

INT, DOUBLE = fmi.types(fmi.datatypes.int), fmi.types(fmi.datatypes.double)
SUM = fmi.func(fmi.op.sum)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["tcp", "store", "redis"])
def meeting(request, tmp_path):
    through = request.getfixturevalue("redis_url") if request.param == "redis" else request.param
    return meeting_at(tmp_path, through)


def meeting_at(tmp_path, through="tcp", timeout_s=20.0):
    Store(tmp_path).make_bucket("bucket")
    folder = f".cosmic/messages/{uuid.uuid4().hex}/1"
    return Meeting(through=through, store=str(tmp_path), bucket="bucket", folder=folder, timeout_s=timeout_s)


def on_ranks(meeting, ranks, do):
    """What `do(communicator, rank)` gives on each rank, all at once."""

    def run(rank):
        return do(fmi.Communicator(rank, ranks, "fmi.json", "Test", 512, meeting=meeting), rank)

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(run, range(ranks)))


@pytest.mark.parametrize("ranks", [1, 2, 5, 8])
def test_allreduce_gives_all_ranks_the_same(meeting, ranks):
    numbers = list(range(1, ranks + 1))
    sums = on_ranks(meeting, ranks, lambda comm, rank: comm.allreduce(rank + 1, SUM, INT))
    assert sums == [sum(numbers)] * ranks


def test_operations_over_values_and_lists(meeting):
    pairs = fmi.types(fmi.datatypes.double_list, 2)

    def do(comm, rank):
        comm.hint(fmi.hints.fast)
        value = [rank + 1.5, -rank]
        found = [comm.allreduce(value, fmi.func(each), pairs) for each in (fmi.op.sum, fmi.op.prod)]
        return found + [comm.allreduce(value, fmi.func(each), pairs) for each in (fmi.op.max, fmi.op.min)]

    assert on_ranks(meeting, 3, do) == [[[7.5, -3.0], [13.125, -0.0], [3.5, 0.0], [1.5, -2.0]]] * 3


TYPES = {"int": 1, "double": 1, "int_list": 2, "double_list": 2}
OPERATIONS = {
    "sum": lambda a, b: a + b,
    "prod": lambda a, b: a * b,
    "min": min,
    "max": max,
    "custom": lambda a, b: 2 * a - b,
}


def of_rank(name, rank):
    """What a rank puts in, and what it is made of."""
    number = rank + 2 if name.startswith("int") else rank + 2.5
    return [number, -number] if name.endswith("list") else number


def folded(name, function, ranks):
    """What Python makes of the ranks' values, in order."""
    values = [of_rank(name, rank) for rank in range(ranks)]
    if name.endswith("list"):
        return [functools.reduce(function, column) for column in zip(*values, strict=True)]
    return functools.reduce(function, values)


@pytest.mark.parametrize("name", TYPES)
def test_every_operation_over_every_type_is_as_python_has_it(meeting, name):
    kind, ranks = fmi.types(fmi.datatypes[name], TYPES[name]), 3

    def do(comm, rank):
        found = {}
        for operation, function in OPERATIONS.items():
            applied = fmi.func(fmi.op[operation], *([function, False, False] if operation == "custom" else []))
            mine = of_rank(name, rank)
            every = comm.allreduce(mine, applied, kind)
            found[operation] = every, comm.reduce(mine, 1, applied, kind), comm.scan(mine, applied, kind)
        comm.barrier()
        passed = comm.recv(rank - 1, kind) if rank else of_rank(name, 0)
        if rank + 1 < ranks:
            comm.send(passed, rank + 1, kind)
        found["sent"] = passed, comm.bcast(of_rank(name, 2) if rank == 2 else None, 2, kind)
        return found

    for rank, found in enumerate(on_ranks(meeting, ranks, do)):
        assert found.pop("sent") == (of_rank(name, 0), of_rank(name, 2))
        for operation, function in OPERATIONS.items():
            whole = folded(name, function, ranks)
            on_root = whole if rank == 1 else None
            assert found[operation] == (whole, on_root, folded(name, function, rank + 1)), operation


def test_function_that_is_not_associative_is_applied_in_the_order_of_ranks(meeting):
    function = fmi.func(fmi.op.custom, lambda a, b: 3 * a + b, False, False)
    assert on_ranks(meeting, 3, lambda comm, rank: comm.allreduce(rank, function, INT)) == [5, 5, 5]
    elements = fmi.types(fmi.datatypes.int_list, 2)
    lists = on_ranks(meeting, 3, lambda comm, rank: comm.reduce([rank, 1], 1, function, elements))
    assert lists == [None, [5, 13], None]


def test_other_collectives_follow_their_roots_and_the_order_of_ranks(meeting):
    whole = fmi.types(fmi.datatypes.int_list, 6)

    def do(comm, rank):
        comm.barrier()
        return {
            "bcast": comm.bcast(4.5 if rank == 1 else None, 1, DOUBLE),
            "gather": comm.gather(rank, 2, INT),
            "scatter": comm.scatter([0, 1, 2, 3, 4, 5] if rank == 0 else None, 0, whole),
            "reduce": comm.reduce(rank, 2, SUM, INT),
            "scan": comm.scan(rank + 1, SUM, INT),
        }

    first, second, third = on_ranks(meeting, 3, do)
    assert first == {"bcast": 4.5, "gather": [], "scatter": [0, 1], "reduce": None, "scan": 1}
    assert second == {"bcast": 4.5, "gather": [], "scatter": [2, 3], "reduce": None, "scan": 3}
    assert third == {"bcast": 4.5, "gather": [0, 1, 2], "scatter": [4, 5], "reduce": 3, "scan": 6}


def test_messages_arrive_in_the_order_in_which_they_were_sent(meeting):
    floats = fmi.types(fmi.datatypes.double_list, 100_000)

    def do(comm, rank):
        if rank == 0:
            comm.send(42, 1, INT)
            comm.send([0.5] * 100_000, 1, floats)
            return None
        return comm.recv(0, INT), sum(comm.recv(0, floats))

    assert on_ranks(meeting, 2, do)[1] == (42, 50_000)


def test_waiting_for_a_slower_rank_is_counted(meeting):
    def do(comm, rank):
        time.sleep(0.3 * rank)
        comm.barrier()
        return comm.waited_s

    quick, slow = on_ranks(meeting, 2, do)
    assert quick > 0.2
    assert slow < quick


def test_missing_rank_is_named_after_the_timeout(meeting):
    short = dataclasses.replace(meeting, timeout_s=0.3)
    comm = fmi.Communicator(0, 3, "", "Test", 512, meeting=short)
    with pytest.raises(RankFailed, match=r"no message from rank 1 has come within 0\.3 s"):
        comm.barrier()


def test_rank_that_never_came_is_named_by_the_sender(tmp_path):
    comm = fmi.Communicator(0, 3, "", "Test", 512, meeting=meeting_at(tmp_path, timeout_s=0.3))
    with pytest.raises(RankFailed, match=r"rank 2 of 3 has not come within 0\.3 s"):
        comm.send(1, 2, INT)


def test_rank_that_has_failed_is_named_before_the_timeout(tmp_path, meeting, monkeypatch):
    monkeypatch.setattr(rendezvous, "LOOK_S", 0.1)
    comm = fmi.Communicator(0, 3, "", "Test", 512, meeting=meeting)
    threading.Timer(0.1, say_failed, (Store(tmp_path), "bucket", meeting.folder, 2)).start()
    with pytest.raises(RankFailed, match="no message from rank 1 has come: rank 2 has failed"):
        comm.recv(1, INT)


def test_rank_that_comes_twice_is_refused(tmp_path):
    meeting = meeting_at(tmp_path)
    fmi.Communicator(0, 2, "", "Test", 512, meeting=meeting)
    from inference.messages.communicator import _made

    _made.clear()  # as in another process
    with pytest.raises(RankFailed, match="rank 0 has come twice"):
        fmi.Communicator(0, 2, "", "Test", 512, meeting=meeting)


def test_stranger_who_connects_without_the_secret_is_not_heard(tmp_path):
    meeting = meeting_at(tmp_path, timeout_s=0.5)
    comm = fmi.Communicator(0, 2, "", "Test", 512, meeting=meeting)
    transport = comm._group._transport
    assert isinstance(transport, TcpTransport)
    with socket.create_connection(("127.0.0.1", transport._listener.getsockname()[1])) as stranger:
        stranger.sendall(b"x" * 32 + b"\0\0\0\1" + b"\0" * 7 + b"\x08" + b"\0" * 8)
        with pytest.raises(RankFailed, match="no message from rank 1"):
            comm.recv(1, INT)


def test_redis_that_does_not_answer_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RankFailed, match=f"Redis at redis://127.0.0.1:{port} does not answer"):
        fmi.Communicator(0, 2, "", "Test", 512, meeting=meeting_at(tmp_path, f"redis://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda comm: comm.allreduce(1.5, SUM, INT), "the value is no int of 1 elements: 1.5"),
        (lambda comm: comm.bcast([1], 0, fmi.types(fmi.datatypes.int_list, 2)), "no int_list of 2 elements"),
        (lambda comm: comm.send(1, 7, INT), "there is no rank 7 of 1"),
        (lambda comm: comm.scatter(1, 0, INT), "only a list whose length is divisible by 1 ranks"),
        (lambda comm: fmi.func(fmi.op.custom), "a function goes with op.custom"),
    ],
)
def test_wrong_call_is_refused_in_a_sentence(tmp_path, call, sentence):
    comm = fmi.Communicator(0, 1, "", "Test", 512, meeting=meeting_at(tmp_path))
    with pytest.raises(BadInput, match=sentence):
        call(comm)


@pytest.mark.parametrize(
    "call",
    [
        lambda comm, values, kind: comm.reduce(values, 0, SUM, kind),
        lambda comm, values, kind: comm.reduce(values, 0, fmi.func(fmi.op.custom, max), kind),
        lambda comm, values, kind: comm.gather(values, 0, kind),
    ],
)
@pytest.mark.parametrize("lengths", [(3, 1), (1, 3), (2, 3)])
def test_ranks_that_give_lists_of_other_lengths_are_told_so(tmp_path, call, lengths):
    def give(comm, rank):
        try:
            call(comm, [rank] * lengths[rank], fmi.types(fmi.datatypes.int_list, lengths[rank]))
        except BadInput as error:
            return str(error)

    said = on_ranks(meeting_at(tmp_path), 2, give)
    assert said == [f"fmi: {lengths[1]} elements came where {lengths[0]} were expected: ranks disagree", None]


@pytest.mark.parametrize("value", [2**63, 1e300, float("nan"), float("inf"), 2**70, "1", None])
def test_value_that_no_int_of_64_bits_holds_is_refused(value):
    with pytest.raises(BadInput, match="the value is no int of 1 elements"):
        INT.encode(value)


def test_communicator_outside_of_a_run_with_messages_says_what_to_add(monkeypatch):
    monkeypatch.delenv("COSMIC_MESSAGES", raising=False)
    with pytest.raises(BadInput, match='add "messages": "tcp" to the request'):
        fmi.Communicator(0, 1, "fmi.json", "Test", 512)
