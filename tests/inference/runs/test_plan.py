import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.runs.plan import Model, assign, check_complete, events_of, make_plan, payload
from inference.storage.store import Store, StoredObject

REQUEST = {
    "bucket": "cosmicai-data",
    "file_limit": "11",
    "batch_size": 512,
    "result_path": "result-partition-100MB/1GB/1",
    "data_bucket": "cosmicai-data",
    "data_prefix": "100MB",
}
MODEL = Model("models/m.safetensors", "abc", "models/m.onnx")


def request(**changes):
    return RunRequest.read(REQUEST | changes)


def listing(*names):
    return [StoredObject(f"100MB/{name}", 1000, f"etag-{name}") for name in names]


def plan(req, files, model=MODEL):
    return make_plan(req, files, model, "/store")


@given(st.integers(1, 200), st.integers(1, 200))
def test_every_file_is_read_once_in_shares_that_differ_by_one(files, ranks):
    shares = assign(list(range(files)), ranks)
    assert len(shares) == ranks
    if files >= ranks:
        assert [file for share in shares for file in share] == list(range(files))
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert sizes == sorted(sizes, reverse=True)
    else:
        assert [share[0] for share in shares] == [rank % files for rank in range(ranks)]


def test_each_rank_takes_its_share_of_what_is_left():
    assert assign(list("abcdefg"), 3) == [["a", "b", "c"], ["d", "e"], ["f", "g"]]


def test_the_world_size_is_the_number_of_files_and_says_so():
    made = plan(request(), listing("1.pt", "2.pt", "10.pt"))
    assert made.world_size == 3
    assert made.data_map == {"0": "100MB/1.pt", "1": "100MB/2.pt", "2": "100MB/10.pt"}
    assert "file_limit is 11 but 100MB/ holds 3" in made.notes[0]


def test_file_limit_takes_the_first_files_as_people_count():
    made = plan(request(file_limit=2), listing("1.pt", "10.pt", "2.pt"))
    assert list(made.data_map.values()) == ["100MB/1.pt", "100MB/2.pt"]


@pytest.mark.parametrize(
    "theirs",
    [{"order": "lexicographic"}, {"script": "/tmp/one/run.py", "S3_object_name": "one"}],
    ids=["order", "script"],
)
def test_requests_of_the_replaced_system_get_file_limit_ranks(theirs):
    made = plan(request(file_limit=5, **theirs), listing("1.pt", "2.pt"))
    assert [event.data_paths for event in made.events] == [(f"100MB/{n}.pt",) for n in (1, 2, 1, 2, 1)]


def test_lexicographic_order_reproduces_old_plans():
    made = plan(request(file_limit=2, order="lexicographic"), listing("1.pt", "10.pt", "2.pt"))
    assert list(made.data_map.values()) == ["100MB/1.pt", "100MB/10.pt"]


def test_a_rank_with_several_files_gets_a_list_and_one_with_one_gets_text():
    made = plan(request(world_size=2), listing("1.pt", "2.pt", "3.pt"))
    assert made.data_map == {"0": ["100MB/1.pt", "100MB/2.pt"], "1": "100MB/3.pt"}


def test_more_ranks_than_files_reuse_them_round_robin_only_when_asked_for():
    made = plan(request(world_size=5), listing("1.pt", "2.pt"))
    assert list(made.data_map.values()) == [f"100MB/{n}.pt" for n in (1, 2, 1, 2, 1)]
    assert "count each object once" in " ".join(made.notes)


def test_objects_that_are_no_partitions_are_ignored_and_counted():
    made = plan(request(), listing("1.pt", "README.txt", "x.safetensors"))
    assert made.world_size == 2
    assert any("1 object under" in note for note in made.notes)


def test_no_partitions_is_refused_with_the_prefix_named():
    with pytest.raises(BadInput, match="cosmicai-data/100MB/"):
        plan(request(), listing("README.txt"))


def test_the_fingerprint_changes_with_what_decides_the_result():
    base = plan(request(), listing("1.pt"))
    changed = [
        plan(request(batch_size=64), listing("1.pt")),
        plan(request(engine="torch"), listing("1.pt")),
        plan(request(), listing("1.pt"), Model("models/m.safetensors", "def")),
        plan(request(), [StoredObject("100MB/1.pt", 1000, "other")]),
    ]
    same = plan(request(result_path="elsewhere", memory_mb=2048), listing("1.pt"))
    prints = {made.events[0].fingerprint for made in [base, *changed]}
    assert len(prints) == 5
    assert same.events[0].fingerprint == base.events[0].fingerprint


def test_the_payload_is_the_request_with_the_data_map():
    req = request()
    made = plan(req, listing("1.pt", "2.pt"))
    document = payload(req, made, "run-1")
    assert {"bucket", "data_prefix", "result_path", "batch_size"} <= document.keys()
    assert document["data_map"] == made.data_map
    assert document["fingerprints"].keys() == {"0", "1"}


def test_a_payload_without_a_rank_is_no_plan():
    with pytest.raises(BadInput, match=r"the plan in payload\.json is damaged: it has no rank"):
        events_of({"fingerprints": {}, "data_map": {}}, request())


def test_the_payload_keeps_every_key_of_the_request_as_it_was_written():
    written = request().document() | {"file_limit": "2", "batch_size": "32", "object_type": "folder", "exec_args": ""}
    req = RunRequest.read(written)
    assert payload(req, plan(req, listing("1.pt", "2.pt")), "run-1").items() >= written.items()


def in_root(*keys, **changes):
    change = {"data_bucket": "galaxies", "data_prefix": "", "file_limit": 10} | changes
    return plan(request(**change), [StoredObject(key, 1000, key) for key in keys])


def test_the_root_of_a_bucket_gives_its_files_and_nothing_in_folders():
    keys = ("1.pt", ".cosmic/staged/model.safetensors", "2.pt", "payload.json", "models/a.safetensors", "50MB/1.pt")
    for bucket in ("galaxies", request().bucket):
        made = in_root(*keys, "results/1/predictions.pt", data_bucket=bucket)
        assert [event.data_paths for event in made.events] == [("1.pt",), ("2.pt",)]


def test_a_root_with_folders_alone_gives_their_partitions_and_says_so():
    made = in_root("50MB/1.pt", "50MB/2.pt", "25MB/1.pt", "payload.json")
    assert len(made.events) == 3
    assert "data_prefix is empty, and partitions are read from the folders 25MB, 50MB" in made.notes


def test_a_root_with_folders_alone_in_the_bucket_of_results_has_none():
    with pytest.raises(BadInput, match=rf"no partitions .* under {request().bucket}/:"):
        in_root("models/a.safetensors", "50MB/1.pt", data_bucket=request().bucket)


def test_partitions_being_made_in_a_local_root_are_refused(tmp_path):
    (tmp_path / "galaxies.cosmic").mkdir()
    (tmp_path / "galaxies").mkdir()
    check_complete(Store(str(tmp_path)), "galaxies", "")
    (tmp_path / "galaxies.cosmic" / "incomplete").touch()
    with pytest.raises(BadInput, match="being made"):
        check_complete(Store(str(tmp_path)), "galaxies", "")
