import dataclasses
import json
from pathlib import Path

import pytest

from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput, RankFailed, StoreError
from inference.handler import lambda_handler
from inference.model.checkpoint import content_hash, export_onnx
from inference.partitions.partition import write_partition
from inference.rank_results.predictions import decode
from inference.rank_results.publish_summary import run_lease
from inference.runs.begin import run_leases
from inference.runs.plan import Model, make_plan
from inference.runs.staged import staged
from inference.state_machine import initialize, summarize
from inference.storage.lease import LeaseHeldError
from inference.storage.store import Store
from inference.worker import LocalContext
from tasks.staging.weights import find_weights, put_weights
from tests.support.own_models import OwnModel, exported
from tests.support.surveys import SIZES, random_survey, read_json, request_of, snapshot

BUCKET = "cosmicai-test"
MODEL = "models/tiny.safetensors"
SCRIPTED = {"model": None, "script": "/tmp/A B/run.py", "S3_object_name": "A B"}
pytestmark = pytest.mark.slow  # the model's graph is exported once a session


@pytest.fixture
def root(store, monkeypatch):
    monkeypatch.setenv("COSMIC_STORE", str(store))
    monkeypatch.setenv("COSMIC_THREADS", "1")
    return store


@pytest.fixture
def results(root):
    return root / BUCKET / "results" / "test"


def items_of(root, output):
    return read_json(root / output["items_bucket"] / output["items_key"])


def test_the_machine_plans_what_the_flow_plans(root):
    output = initialize(request_of(), LocalContext())
    store = Store(root)
    request = RunRequest.read(request_of())
    model = staged(store, request)
    graph_sha256 = content_hash(root / BUCKET / model.graph)
    assert model == Model(MODEL, content_hash(root / BUCKET / MODEL), model.graph, graph_sha256)
    planned = make_plan(request, store.list(BUCKET, "survey"), model, store.root).events
    assert [RankEvent.from_wire(item) for item in items_of(root, output)] == list(planned)
    assert (output["ranks"], output["bucket"], output["result_path"]) == (4, BUCKET, "results/test")


def test_ranks_that_are_done_are_not_in_the_list(root):
    context = LocalContext()
    first, *others = items_of(root, initialize(request_of(), context))
    lambda_handler(first, LocalContext())
    assert items_of(root, initialize(request_of(), context)) == others


def test_a_run_by_hand_ends_in_combined_data(root, results):
    output = initialize(request_of(), LocalContext())
    for item in items_of(root, output):
        lambda_handler(item, LocalContext())
    expected = summarize(output, LocalContext())
    assert (expected["ranks_planned"], expected["ranks_done"], expected["missing_ranks"]) == (4, 4, [])
    assert [record["samples"] for record in read_json(results / "combined_data.json")] == list(SIZES)


def test_missing_ranks_fail_the_summary_and_are_named(root, results):
    output = initialize(request_of(), LocalContext())
    lambda_handler(items_of(root, output)[2], LocalContext())
    with pytest.raises(RankFailed, match="3 of 4 ranks are missing: 0, 1, 3"):
        summarize(output, LocalContext())
    assert len(read_json(results / "combined_data.partial.json")) == 1
    assert not (results / "combined_data.json").exists()


def test_missing_ranks_that_the_machine_tolerates_are_named(root, monkeypatch):
    output = initialize(request_of(), LocalContext())
    for item in items_of(root, output)[1:]:
        lambda_handler(item, LocalContext())
    monkeypatch.setenv("TOLERATED_FAILURE_PERCENTAGE", "24")
    with pytest.raises(RankFailed):
        summarize(output, LocalContext())
    monkeypatch.setenv("TOLERATED_FAILURE_PERCENTAGE", "25")
    assert summarize(output, LocalContext())["missing_ranks"] == [0]


def test_a_flow_that_began_the_run_keeps_its_name_on_it(root, results):
    store, request = Store(root), RunRequest.read(request_of())
    with run_leases(store, request, "flow-run-1") as leases:
        output = initialize(request_of() | {"run_id": "flow-run-1"}, LocalContext())
        with pytest.raises(RankFailed, match="4 of 4 ranks are missing"):
            summarize(output, LocalContext())
        leases[0].check()  # the machine's last step leaves the flow its lease
    assert read_json(results / "payload.json")["run_id"] == "flow-run-1"


def test_initialize_refuses_a_result_path_that_a_living_run_holds(root, results):
    store, request = Store(root), RunRequest.read(request_of())
    with run_leases(store, request, "a flow"):
        before = snapshot(results) if results.exists() else None
        for event in (request_of(), request_of() | {"run_id": "another flow"}):
            with pytest.raises(LeaseHeldError):
                initialize(event, LocalContext())
        assert (snapshot(results) if results.exists() else None) == before


def test_initialize_refuses_a_flow_that_lost_its_lease(root, results):
    with pytest.raises(LeaseHeldError, match="does not hold cosmicai-test/results/test any more"):
        initialize(request_of() | {"run_id": "a flow that was killed"}, LocalContext())
    assert not results.exists()


def test_run_by_hand_holds_the_result_path_until_its_summary(root):
    store, request = Store(root), RunRequest.read(request_of())
    output = initialize(request_of(), LocalContext())
    with pytest.raises(LeaseHeldError, match="held by run local-"), run_leases(store, request, "a flow"):
        pass
    with pytest.raises(RankFailed, match="4 of 4 ranks are missing"):
        summarize(output, LocalContext())
    with run_leases(store, request, "a flow"):
        pass


EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:cosmic-flows:3f6c1a52-7a0e-4b7c-9d38-0c7f6c1d2e4a"


def test_initialize_repeated_after_a_lost_answer_meets_its_own_lease(root):
    asked, store = request_of() | {"execution": EXECUTION}, Store(root)
    lost = initialize(asked, LocalContext())
    again = initialize(asked, LocalContext())
    assert again == lost
    for item in items_of(root, again):
        lambda_handler(item, LocalContext())
    assert summarize(again, LocalContext())["missing_ranks"] == []
    assert read_json(root / BUCKET / "results" / "test" / "payload.json")["run_id"] == EXECUTION
    run_lease(store, BUCKET, "results/test", "the next one").take(1)


def test_initialize_of_another_execution_is_refused_by_name(root):
    initialize(request_of() | {"execution": EXECUTION}, LocalContext())
    with pytest.raises(LeaseHeldError, match=f"held by run {EXECUTION} "):
        initialize(request_of() | {"execution": EXECUTION.replace("3f6c", "3f6d")}, LocalContext())


def test_initialize_refuses_an_execution_that_is_no_text(root):
    with pytest.raises(BadInput, match="execution must be text"):
        initialize(request_of() | {"execution": {"Id": EXECUTION}}, LocalContext())


def test_summary_after_its_flow_died_leaves_the_result_path_free(root, results):
    store, request = Store(root), RunRequest.read(request_of())
    with run_leases(store, request, "flow-run-1"):
        output = initialize(request_of() | {"run_id": "flow-run-1"}, LocalContext())
    for item in items_of(root, output):
        lambda_handler(item, LocalContext())
    assert summarize(output, LocalContext())["missing_ranks"] == []
    assert (results / "combined_data.json").exists()
    with run_leases(store, request, "the next one"):
        pass


def test_lease_of_a_run_by_hand_lasts_as_long_as_the_machine_may(root, monkeypatch):
    monkeypatch.setenv("RUN_TIMEOUT", "120")
    initialize(request_of(), LocalContext())
    lease = run_lease(Store(root), BUCKET, "results/test", "anybody")
    assert lease.newest().seconds == 180


def test_summary_of_a_run_that_was_taken_over_changes_nothing(root, results):
    output = initialize(request_of(), LocalContext())
    for item in items_of(root, output):
        lambda_handler(item, LocalContext())
    other = run_lease(Store(root), BUCKET, "results/test", "another run")
    other.append(dataclasses.replace(other.newest(), seconds=0.0))
    other.take(60)
    with pytest.raises(LeaseHeldError):
        summarize(output, LocalContext())
    assert not (results / "combined_data.json").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "models/none.safetensors"}, "no staged models/none.safetensors"),
        ({"model": None}, "no staged model"),
        ({"model": "../models/tiny.safetensors"}, "model has an empty, '.' or '..' segment"),
        ({"model": "models//tiny.safetensors"}, "model has an empty, '.' or '..' segment"),
        ({"data_prefix": "none"}, "no partitions"),
        ({"bathc_size": 1}, "bathc_size"),
        ({"model": None, "script": "/tmp/A B/run.py", "S3_object_name": "A B"}, "no /tmp/A B/run.py in cosmicai-test"),
    ],
)
def test_what_cannot_run_is_refused_before_the_first_write(root, results, changes, expected):
    with pytest.raises(BadInput, match=expected):
        initialize(request_of(**changes), LocalContext())
    assert not results.exists()


def test_initialize_refuses_galaxies_that_the_model_does_not_know(root, results):
    weights = Path("inference/weights/demo.safetensors").resolve()
    store, request = Store(root), RunRequest.read(request_of(model=str(weights)))
    model, _ = put_weights(find_weights(request, store), BUCKET, store)
    facts = SurveyFacts.of_sdss_bands(0.262)
    write_partition(root / BUCKET / "wide" / "1.pt", *random_survey(3), facts)
    event = request_of(model=model.key, data_prefix="wide")
    with pytest.raises(BadInput, match=r"wide/1.pt has pixels of 0.262 arcseconds .* trained on 0.396"):
        initialize(event, LocalContext())
    assert not results.exists()
    assert initialize(event | {"take_other_pixels": True}, LocalContext())["ranks"] == 1


def test_initialize_takes_an_onnx_model_as_it_lies_in_the_bucket(root):
    exported(root / BUCKET / "models" / "own.onnx", OwnModel(outputs=("redshift", "sigma")))
    output = initialize(request_of(model="models/own.onnx"), LocalContext())
    item = items_of(root, output)[0]
    assert item["graph"] is None
    result = lambda_handler(item, LocalContext())
    _, columns = decode(Store(root).read(BUCKET, result["predictions_path"]), "predictions")
    assert len(columns["z_err"]) == len(columns["z_pred"]) == result["samples"]


def test_initialize_takes_the_graph_of_the_requested_precision(root):
    model = root / BUCKET / MODEL
    graphs = {precision: export_onnx(model, precision) for precision in ("float32", "int8")}
    for precision, graph in graphs.items():
        output = initialize(request_of(precision=precision, result_path=f"results/{precision}"), LocalContext())
        item = items_of(root, output)[0]
        assert (item["graph"], item["graph_sha256"]) == (f"models/{graph.name}", content_hash(graph))
        assert lambda_handler(item, LocalContext())["precision"] == precision


def test_initialize_refuses_a_graph_that_has_changed_since_it_was_staged(root):
    store, request = Store(root), RunRequest.read(request_of())
    model, _ = put_weights(find_weights(request, store), BUCKET, store)
    graph = root / BUCKET / model.graph
    sound = graph.read_bytes()
    graph.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    try:
        with pytest.raises(BadInput, match="has changed: `cosmic run` stages it again"):
            initialize(request_of(), LocalContext())
    finally:
        graph.write_bytes(sound)


def test_initialize_refuses_an_environment_that_a_function_cannot_make(root):
    with pytest.raises(BadInput, match="script_environment: a function installs nothing"):
        initialize(request_of(script_environment="requirements.txt", **SCRIPTED), LocalContext())


def test_weights_without_their_graph_are_refused(root):
    for graph in (root / BUCKET / "models").glob("*.onnx"):
        graph.unlink()
    with pytest.raises(BadInput, match="no exported float32 graph"):
        initialize(request_of(), LocalContext())


@pytest.mark.parametrize(
    "changes",
    [{"data_prefix": "none"}, {"items": "inline", "exec_args": "x" * 100_000, **SCRIPTED}],
    ids=["plan", "answer"],
)
def test_initialize_that_fails_leaves_the_result_path_free(root, changes):
    script = root / BUCKET / "A B" / "run.py"
    script.parent.mkdir()
    script.write_text("pass\n")
    with pytest.raises(BadInput):
        initialize(request_of(**changes), LocalContext(aws_request_id="one"))
    assert initialize(request_of(), LocalContext(aws_request_id="two"))["ranks"] == 4
    assert initialize(request_of(result_path="results/script", **SCRIPTED), LocalContext(aws_request_id="three"))


def test_summary_by_hand_frees_the_path_of_a_stopped_execution(root, results):
    output = initialize(request_of(), LocalContext(aws_request_id="one"))
    lambda_handler(items_of(root, output)[0], LocalContext())
    with pytest.raises(LeaseHeldError, match=r"after an execution that was stopped, see docs/aws\.md"):
        initialize(request_of(), LocalContext(aws_request_id="two"))
    with pytest.raises(RankFailed, match="3 of 4 ranks are missing"):
        summarize({"bucket": BUCKET, "result_path": "results/test"}, LocalContext())
    assert len(read_json(results / "combined_data.partial.json")) == 1
    assert initialize(request_of(), LocalContext(aws_request_id="two"))["ranks"] == 3


@pytest.mark.parametrize("event", [None, [], {}, {"bucket": 3}])
def test_an_event_that_is_none_is_refused(root, event):
    with pytest.raises(BadInput):
        summarize(event, LocalContext())
    with pytest.raises(BadInput):
        initialize(event, LocalContext())


def test_a_summary_of_no_run_is_refused(root):
    with pytest.raises(BadInput, match=r"no run under cosmicai-test/results/none"):
        summarize({"bucket": BUCKET, "result_path": "results/none"}, LocalContext())


@pytest.mark.parametrize("path", ["../out", "a//b", "a/..", "a\0b", "\ud800", "n" * 5_000, ""])
@pytest.mark.parametrize("field", ["bucket", "result_path"])
def test_summarize_refuses_a_path_that_leads_elsewhere(root, field, path):
    with pytest.raises(BadInput, match=f"^{field} ") as caught:
        summarize({"bucket": BUCKET, "result_path": "results/test"} | {field: path}, LocalContext())
    assert len(str(caught.value)) < 300


class TestAScript:
    @pytest.fixture
    def scripted(self, root):
        folder = root / BUCKET / "A B"
        folder.mkdir()
        (folder / "run.py").write_text("pass\n")
        return request_of(model=None, script="/tmp/A B/run.py", S3_object_name="A B")

    def test_the_plan_lies_at_the_buckets_root_while_the_run_holds_it(self, root, scripted):
        initialize(scripted, LocalContext(aws_request_id="one"))
        assert read_json(root / BUCKET / "payload.json")["data_map"]["0"] == "survey/1.pt"
        with pytest.raises(StoreError, match="root of bucket cosmicai-test is held by run one "):
            initialize(scripted | {"result_path": "results/two"}, LocalContext(aws_request_id="two"))
        assert json.loads((root / BUCKET / "payload.json").read_text())["result_path"] == "results/test"

    def test_a_summary_gives_the_bucket_free(self, root, scripted):
        output = initialize(scripted, LocalContext(aws_request_id="one"))
        with pytest.raises(RankFailed):
            summarize(output, LocalContext())
        initialize(scripted | {"result_path": "results/two"}, LocalContext(aws_request_id="two"))

    def test_a_changed_script_makes_another_plan(self, root, scripted):
        context = LocalContext(aws_request_id="one")
        before = items_of(root, initialize(scripted, context))
        (root / BUCKET / "A B" / "run.py").write_text("print('other')\n")
        after = items_of(root, initialize(scripted, context))
        assert before[0]["fingerprint"] != after[0]["fingerprint"]
        assert after[0]["SCRIPT"] == "/tmp/A B/run.py"


def test_the_answer_has_the_replaced_systems_shapes_too(root, monkeypatch):
    context = LocalContext()
    output = initialize(request_of(), context)
    place = {"S3_BUCKET": output["items_bucket"], "S3_KEY": output["items_key"]}
    assert (output["statusCode"], output["body"]) == (200, place)
    assert initialize(request_of() | {"items": "inline"}, context)["body"] == items_of(root, output)
    monkeypatch.setenv("ITEMS", "inline")  # of a function that serves an inline map
    assert initialize(request_of(), context)["body"] == items_of(root, output)
    assert initialize(request_of() | {"items": "s3"}, context)["body"] == place


def test_a_summary_is_found_by_the_list_alone(root, results):
    output = initialize(request_of(), LocalContext())
    for item in items_of(root, output):
        lambda_handler(item, LocalContext())
    answered = summarize({"statusCode": 200, "body": output["body"]}, LocalContext())
    assert (answered["statusCode"], answered["ranks_done"]) == (200, 4)
    assert json.loads(answered["body"]) == "Combined data uploaded to results/test/combined_data.json"
    assert len(read_json(results / "combined_data.json")) == 4


def test_a_plan_of_the_replaced_system_is_summarized_as_it_lies(root, results):
    output = initialize(request_of(), LocalContext())
    ours = ("fingerprint", "data_etags", "attempt")
    items = [{key: value for key, value in item.items() if key not in ours} for item in items_of(root, output)]
    (results / "payload.json").unlink()
    run_lease(Store(root), BUCKET, "results/test", output["run_id"]).join().lease.release()
    for item in items:
        lambda_handler(item, LocalContext())
    (results / "2.json").write_text("{")
    with pytest.raises(RankFailed, match="1 of 4 ranks is missing: 2"):
        summarize({"statusCode": 200, "body": items}, LocalContext())
    assert len(read_json(results / "combined_data.partial.json")) == 3

    def test_a_failed_rank_ends_the_hold_of_a_run_by_hand(self, root, scripted):
        """A machine without a catch, as the replaced system's, ends here and calls no summary."""
        (root / BUCKET / "A B" / "run.py").write_text("import sys; sys.exit('boom')\n")
        item = items_of(root, initialize(scripted, LocalContext(aws_request_id="one")))[0]
        with pytest.raises(RankFailed, match="boom"):
            lambda_handler(item, LocalContext())
        with pytest.raises(LeaseHeldError, match=r"results/test is held by run one .*, for (60|5\d) s more"):
            initialize(scripted, LocalContext(aws_request_id="two"))
        with pytest.raises(LeaseHeldError, match=r"root of bucket .* is held by run one .*, for (60|5\d) s more"):
            initialize(scripted | {"result_path": "results/two"}, LocalContext(aws_request_id="two"))

    def test_a_failed_rank_leaves_the_hold_of_a_process_that_lives(self, root, scripted):
        (root / BUCKET / "A B" / "run.py").write_text("import sys; sys.exit('boom')\n")
        request = RunRequest.read(scripted)
        with run_leases(Store(root), request, "flow") as held:
            output = initialize(scripted | {"run_id": "flow"}, LocalContext())
            before = held[0].lease.newest()
            with pytest.raises(RankFailed):
                lambda_handler(items_of(root, output)[0], LocalContext())
            assert held[0].lease.newest() == before
