"""A script that imports `fmi`, run as ranks are: in processes of their own, with the event's messages."""

import dataclasses
import os
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.contract.messages import Messages
from inference.contract.rank_event import RankEvent
from inference.errors import BadInput, RankFailed
from inference.rank_results.gather import read_result
from inference.scripts.run_script import event_for_log, run_script
from inference.worker import LocalContext
from tests.support.staged_scripts import BUCKET, WRITES_A_RESULT, local_store, put_data, put_script

SUMS = """
import os, fmi
comm = fmi.Communicator(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "fmi.json", "sums", 512)
comm.barrier()
assert comm.allreduce(1, fmi.func(fmi.op.sum), fmi.types(fmi.datatypes.int)) == 2
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    made = local_store(tmp_path)
    put_data(made, tmp_path)
    return made


def events_of(store, text, ranks=2, name=None, timeout_s=20.0):
    messages = Messages(through="tcp", gang=uuid.uuid4().hex, timeout_s=timeout_s)
    event = put_script(store, text, name or f"one{os.getpid()}", messages=messages, world_size=ranks)
    return [dataclasses.replace(event, rank=rank) for rank in range(ranks)]


def run(store, event):
    return run_script(store, event, event.to_wire(), LocalContext(limit_s=60))


def test_ranks_meet_and_what_they_waited_is_in_their_results(store):
    events = events_of(store, SUMS + WRITES_A_RESULT)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda event: run(store, event), events))
    assert [result.rank for result in results] == [0, 1]
    assert any(result.message_wait_s > 0 for result in results)
    assert read_result(store, events[0]).message_wait_s == results[0].message_wait_s


def test_fmi_is_found_beside_a_module_of_the_script_that_has_our_name(store):
    name = f"named{os.getpid()}"
    store.write(BUCKET, f"{name}/inference.py", b"WHOSE = 'theirs'\n")
    theirs = "import inference\nassert inference.WHOSE == 'theirs'\n"
    events = events_of(store, SUMS + theirs + WRITES_A_RESULT, name=name)
    with ThreadPoolExecutor(2) as pool:
        assert [result.rank for result in pool.map(lambda event: run(store, event), events)] == [0, 1]


def test_what_another_rank_waited_is_no_wait_of_a_rank_without_messages(store, tmp_path):
    left = tmp_path / "scratch" / ".cosmic-waited" / "3"
    left.parent.mkdir()
    left.write_text("2.5\n")  # scratch folders are used again
    assert run(store, put_script(store, WRITES_A_RESULT)).message_wait_s == 0


def test_fmi_in_an_environment_of_the_scripts_own_lacks_no_module_of_ours(store, tmp_path, monkeypatch):
    monkeypatch.setenv("COSMIC_ENVIRONMENTS", str(tmp_path / "environments"))
    event = events_of(store, "import fmi\n", ranks=1)[0]
    event = dataclasses.replace(event, script=dataclasses.replace(event.script, requirements="--no-index\n"))
    with pytest.raises(RankFailed, match="its environment has no module obstore: name the package"):
        run(store, event)


def test_rank_that_fails_is_named_to_the_rank_that_waits(store):
    fails = 'import os, sys\nif os.environ["RANK"] == "1": sys.exit("no weights")\n'
    events = events_of(store, fails + SUMS + WRITES_A_RESULT)
    with ThreadPoolExecutor(2) as pool:
        first, second = [pool.submit(run, store, event) for event in events]
    with pytest.raises(RankFailed, match="no weights"):
        second.result()
    with pytest.raises(RankFailed, match="no message from rank 1 has come: rank 1 has failed"):
        first.result()


def test_script_without_messages_in_its_request_is_given_the_key(store):
    event = dataclasses.replace(events_of(store, SUMS, ranks=1)[0], messages=None)
    with pytest.raises(RankFailed, match='add "messages": "tcp" to the request'):
        run(store, event)


def test_event_carries_messages_and_the_log_does_not(store):
    event = events_of(store, "")[0]
    wire = event.to_wire()
    assert RankEvent.from_wire(wire) == event
    assert event.messages.gang not in str(event_for_log(wire, event))
    assert event.messages.place(2).endswith(f"{event.messages.gang}/2")
    assert store.list(BUCKET, ".cosmic/messages") == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("tcp", "messages must be a JSON object"),
        ({"through": "tcp", "gang": "x"}, "gang must be 32 hexadecimal digits"),
        ({"through": "carrier pigeon", "gang": "0" * 32}, "must be tcp, store or a URL"),
        ({"through": "tcp", "gang": "0" * 32, "timeout_s": "soon"}, "timeout_s must be a number"),
    ],
)
def test_wrong_messages_of_an_event_are_refused(store, wrong, sentence):
    with pytest.raises(BadInput, match=sentence):
        RankEvent.from_wire(events_of(store, "")[0].to_wire() | {"messages": wrong})
