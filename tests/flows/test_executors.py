"""The same request on every executor: the same redshifts, the same ranks, the same tables."""

import io
import json
import re
import zipfile

import pandas as pd
import pytest

from flows.run import run
from inference.errors import BadInput, RunIncomplete
from inference.rank_results.publish_summary import root_lease, run_lease
from inference.storage.store import Store
from tasks.aws.function_package import zip_package
from tasks.aws.session import client
from tasks.billing.bill_of_run import cost_of_run
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.invocations.stored import load_invocations
from tests.conftest import ROOT, point_at
from tests.support.forgetful_functions import ERROR
from tests.support.prefect_command import wait_for
from tests.support.staged_scripts import ANOMALY, ENTRY, NAME
from tests.support.surveys import SIZES, request_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api", "stack")]
BUCKET = "cosmicai-test"
EXECUTORS = ("local", "lambda", "step-functions")
MEASURED = {
    "wall",
    "cpu",
    "peak",
    "idle",
    "store",
    "samples_per_s",
    "resumed",
    "started_at",
    "ended_at",
    "cold",
    "worker",
    "billed_s",
}


def table_of(path):
    return pd.read_parquet(io.BytesIO(Store("s3://").read(BUCKET, f"{path}/predictions.parquet")))


def request(**changes):
    return request_of(max_concurrency=2, **changes)


@pytest.fixture(scope="module")
def runs(deployed, emulator_url, prefect_server):
    """A run of the same request on each executor: its document and its redshifts."""
    from tests.support.prefect_command import reporting_to

    made = {}
    with pytest.MonkeyPatch.context() as patch, reporting_to(prefect_server):
        point_at(emulator_url, patch)
        for executor in EXECUTORS:
            path = f"results/parity/{executor}"
            made[executor] = run(request(result_path=path), "s3://", executor), table_of(path)
    return made


@pytest.fixture
def forgetful(stack):
    """All three functions lose the answer of each first call (tests/support/forgetful_functions.py)."""
    functions, own = client("lambda"), zip_package(None)
    archive = io.BytesIO(own)
    with zipfile.ZipFile(archive, "a") as package:
        package.writestr("forgetful.py", (ROOT / "tests/support/forgetful_functions.py").read_text())

    def put(code, handlers):
        for function, handler in zip(("data-parallel-init", "cosmic-executor", "resultSummary"), handlers, strict=True):
            functions.update_function_code(FunctionName=function, ZipFile=code)
            functions.get_waiter("function_updated").wait(FunctionName=function)
            functions.update_function_configuration(FunctionName=function, Handler=handler)
            functions.get_waiter("function_updated").wait(FunctionName=function)

    machine, states = {"stateMachineArn": stack["StateMachineArn"]}, client("stepfunctions")
    definition = states.describe_state_machine(**machine)["definition"]
    known = '"Lambda.SdkClientException"'
    put(archive.getvalue(), ("forgetful.first", "forgetful.rank", "forgetful.last"))
    states.update_state_machine(**machine, definition=definition.replace(known, f'{known}, "{ERROR}"'))
    yield
    states.update_state_machine(**machine, definition=definition)
    put(
        own,
        ("inference.state_machine.initialize", "inference.handler.lambda_handler", "inference.state_machine.summarize"),
    )


@pytest.mark.parametrize("executor", EXECUTORS)
class TestEveryExecutor:
    def test_executor_completes_all_ranks(self, runs, executor):
        document, _ = runs[executor]
        assert (document["ranks_planned"], document["ranks_done"], document["missing_ranks"]) == (4, 4, [])
        assert document["samples"] == sum(SIZES)
        assert document["executor"] == executor

    def test_executors_give_the_same_redshifts_bit_for_bit(self, runs, executor):
        pd.testing.assert_frame_equal(runs[executor][1], runs["local"][1], check_exact=True)

    def test_executors_give_documents_and_ranks_the_same_keys(self, runs, executor):
        own = {"workers", "function", "function_memory_mb", "function_modified", "execution"}
        assert runs[executor][0].keys() - own == runs["local"][0].keys() - own
        for row, expected in zip(runs[executor][0]["ranks"], runs["local"][0]["ranks"], strict=True):
            assert row.keys() == expected.keys()
            same = [name for name in row if not any(name.startswith(part) for part in MEASURED)]
            assert {name: row[name] for name in same} == {name: expected[name] for name in same}
            assert {"rank", "data_path", "samples"} <= set(same)

    def test_combined_data_has_one_record_for_each_rank(self, runs, executor):
        records = pd.read_json(
            io.BytesIO(Store("s3://").read(BUCKET, f"results/parity/{executor}/combined_data.json")), orient="records"
        )
        assert list(records["samples"]) == list(SIZES)
        assert {"throughput_bps", "total_cpu_time (seconds)", "s3_num_requests"} <= set(records.columns)

    def test_bill_counts_s3_requests(self, runs, executor):
        items = {item["name"]: item["quantity"] for item in runs[executor][0]["cost"]["items"]}
        assert items["S3 GET"] > 0
        assert items["S3 PUT and LIST"] == 8  # redshifts and result of each rank

    def test_bill_of_results_copied_to_a_folder_counts_the_same(self, runs, executor, tmp_path):
        on_s3, path = Store("s3://"), f"results/parity/{executor}"
        for stored in on_s3.list(BUCKET, path):
            Store(tmp_path).write(BUCKET, stored.key, on_s3.read(BUCKET, stored.key))
        copied, there = (cost_of_run(root, BUCKET, path, "billed") for root in (str(tmp_path), "s3://"))
        assert executor == "local" or copied.items == there.items

    def test_finished_request_started_again_runs_nothing(self, runs, executor):
        again = run(request(result_path=f"results/parity/{executor}"), "s3://", executor)
        assert (again["ranks_done"], again["ranks_resumed"]) == (4, 4)
        assert again["metrics"] == runs[executor][0]["metrics"]

    def test_only_the_rank_with_a_lost_result_runs_again(self, runs, executor):
        path = f"results/parity/{executor}"
        before = {row["rank"]: row["started_at"] for row in runs[executor][0]["ranks"]}
        Store("s3://").delete(BUCKET, [f"{path}/2.json"])
        again = run(request(result_path=path), "s3://", executor)
        after = {row["rank"]: row["started_at"] for row in again["ranks"]}
        assert {rank for rank in after if after[rank] != before[rank]} <= {2}
        assert again["ranks_resumed"] == 3
        runs[executor] = again, table_of(path)


@pytest.mark.parametrize("executor", ["lambda", "step-functions"])
class TestOnAws:
    def test_bill_of_the_emulators_report_lines_says_so(self, runs, executor):
        cost = runs[executor][0]["cost"]
        assert cost["estimate"]
        assert re.search(r"as the emulator reported it for (\d+) of \1, not AWS", cost["how"])
        assert all(row["billed_s"] > 0 for row in runs[executor][0]["ranks"])

    def test_local_store_is_refused_for_functions(self, store, executor):
        with pytest.raises(BadInput, match=f"{executor} executor needs --store s3://"):
            run(request(), str(store), executor)

    def test_missing_partitions_are_refused_before_the_first_write(self, executor):
        with pytest.raises(BadInput, match="no partitions"):
            run(request(data_prefix="none", result_path="results/never"), "s3://", executor)
        assert Store("s3://").list(BUCKET, "results/never") == []

    def test_missing_bucket_is_refused_before_the_first_rank(self, executor):
        with pytest.raises(BadInput, match="no bucket cosmicai-none"):
            run(request(bucket="cosmicai-none"), "s3://", executor)

    def test_damaged_partition_fails_its_rank_and_keeps_the_others(self, executor):
        store = Store("s3://")
        for stored in store.list(BUCKET, "survey"):
            data = store.read(BUCKET, stored.key)
            store.write(
                BUCKET, stored.key.replace("survey/", "damaged/"), data if "3.pt" not in stored.key else data[:500]
            )
        with pytest.raises(RunIncomplete, match=r"1 of 4 ranks is missing \(rank 2: .*damaged/3\.pt") as failed:
            run(request(data_prefix="damaged", result_path=f"results/damaged/{executor}"), "s3://", executor)
        assert failed.value.document["missing_ranks"] == [2]
        assert failed.value.document["ranks_done"] == 3


@pytest.mark.parametrize("access", ["download", "memory-map"])
def test_access_does_not_change_the_redshifts(access, runs):
    """The runs of all executors read S3 as a stream, which is its default."""
    path = f"results/access/{access}"
    run(request(result_path=path, access=access), "s3://", "lambda")
    pd.testing.assert_frame_equal(table_of(path), runs["local"][1], check_exact=True)


@pytest.mark.parametrize("executor", ["local", pytest.param("lambda", marks=pytest.mark.soak), "step-functions"])
def test_staged_script_runs_on_every_executor(executor):
    path = f"results/script/{executor}"
    scripted = request_of(
        file_limit=2,
        model=None,
        script=ENTRY,
        S3_object_name=NAME,
        script_source=str(ANOMALY),
        result_path=path,
        exec_args="--a 'b c'",
    )
    document = run(scripted, "s3://", executor)
    assert (document["ranks_done"], document["samples"]) == (2, sum(SIZES[:2]))
    assert document["engine"] == "script"
    records = pd.read_json(io.BytesIO(Store("s3://").read(BUCKET, f"{path}/combined_data.json")))
    assert list(records["arguments"]) == [["--a", "b c"]] * 2
    assert records["mean_redshift"].notna().all()
    free = root_lease(Store("s3://"), scripted["bucket"], "the next one")
    free.take(60)  # or it would be refused
    free.release()


class TestThroughTheStateMachine:
    def test_state_machine_run_reports_phases_and_transitions(self, runs):
        execution = runs["step-functions"][0]["execution"]
        assert execution["status"] == "SUCCEEDED"
        assert execution["map_s"] > 0 and execution["initialize_s"] > 0 and execution["summarize_s"] > 0
        assert execution["state_transitions"] >= 3
        items = {item["name"]: item["quantity"] for item in runs["step-functions"][0]["cost"]["items"]}
        assert items["state transitions"] >= 3

    def test_execution_by_hand_whose_map_fails_leaves_its_path_free(self, stack):
        store, path = Store("s3://"), "results/by-hand"
        for stored in store.list(BUCKET, "survey"):
            data = store.read(BUCKET, stored.key)
            store.write(
                BUCKET, stored.key.replace("survey/", "halved/"), data[: len(data) // (1 + ("2.pt" in stored.key))]
            )
        asked, states = request(data_prefix="halved", result_path=path), client("stepfunctions")
        arn = states.start_execution(stateMachineArn=stack["StateMachineArn"], input=json.dumps(asked))["executionArn"]
        wait_for(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING")
        ended = states.describe_execution(executionArn=arn)
        assert (ended["status"], ended["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
        assert len(store.read_json(BUCKET, f"{path}/combined_data.partial.json")) == 3
        assert store.read_json(BUCKET, f"{path}/payload.json")["run_id"] == arn
        run_lease(store, BUCKET, path, "the next one").take(1)  # or it would be refused

    @pytest.mark.soak
    def test_lost_answers_lose_nothing_and_double_nothing(self, runs, forgetful):
        path = "results/forgetful"
        document = run(request(result_path=path), "s3://", "step-functions")
        calls = [key.removeprefix("answers/").split("/")[0] for key in Store("s3://").keys(BUCKET, "answers")]
        names = ["initialize-once", "summarize-once", *(f"lambda_handler-{rank}" for rank in range(4))]
        assert {name: calls.count(name) for name in names} == dict.fromkeys(names, 2)
        assert (document["ranks_done"], document["missing_ranks"], document["failed_ranks"]) == (4, [], [])
        pd.testing.assert_frame_equal(table_of(path), runs["lambda"][1])
        assert len(Store("s3://").read_json(BUCKET, f"{path}/combined_data.json")) == 4

    def test_missing_state_machine_is_refused_before_the_first_write(self):
        arn = "arn:aws:states:us-east-1:000000000000:stateMachine:none"
        with pytest.raises(BadInput, match=arn):
            run(request(state_machine_arn=arn, result_path="results/never"), "s3://", "step-functions")
        assert Store("s3://").list(BUCKET, "results/never") == []


def test_missing_function_is_refused_before_the_first_write():
    with pytest.raises(BadInput, match="no function nobody in us-east-1"):
        run(request(function_name="nobody", result_path="results/never"), "s3://", "lambda")
    assert Store("s3://").list(BUCKET, "results/never") == []


@pytest.mark.soak
def test_function_timeout_is_named_as_the_cause(replaced):
    replaced("slow", timeout_s=1)
    asked = request_of(file_limit=1, result_path="results/late", rank_timeout=900)
    with pytest.raises(RunIncomplete, match=r"1 of 1 rank is missing .*ran out of time after 1 s: use smaller"):
        run(asked, "s3://", "lambda")
    calls = load_invocations(Store("s3://"), BUCKET, "results/late")
    assert [call.attempt for call in calls] == [1, 2, 3]
    assert all(call.billed_s >= 1 for call in calls)


@pytest.mark.soak
def test_partition_that_vanishes_after_the_plan_fails_its_rank(monkeypatch):
    store = Store("s3://")
    for stored in store.list(BUCKET, "survey"):
        store.write(BUCKET, stored.key.replace("survey/", "vanishing/"), store.read(BUCKET, stored.key))
    started = LambdaExecutor.start

    def start(self):  # the plan is made, no rank has been sent
        store.delete(BUCKET, ["vanishing/2.pt"])
        return started(self)

    monkeypatch.setattr(LambdaExecutor, "start", start)
    with pytest.raises(RunIncomplete, match=r"rank 1: the partition vanishing/2\.pt is gone from cosmicai-test"):
        run(request(data_prefix="vanishing", result_path="results/vanishing"), "s3://", "lambda")


@pytest.mark.soak
def test_reserved_concurrency_of_two_loses_none_of_forty_ranks():
    functions = client("lambda")
    functions.put_function_concurrency(FunctionName="cosmic-executor", ReservedConcurrentExecutions=2)
    try:
        asked = request_of(world_size=40, result_path="results/forty", max_concurrency=40)
        document = run(asked, "s3://", "lambda")
    finally:
        functions.delete_function_concurrency(FunctionName="cosmic-executor")
    assert (document["ranks_done"], document["missing_ranks"]) == (40, [])
    assert {row["attempt"] for row in document["ranks"]} == {1}
