"""A run that is killed or cut off, and then started again, ends as an undisturbed run does."""

import json
import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pandas as pd
import pytest

from inference.storage.store import Store
from tasks.aws.emulator import environment
from tasks.billing.bill_of_run import cost_of_run
from tasks.invocations.stored import load_invocations
from tests.support.quick_function import Function
from tests.support.run_harness import RunHarness, local_run
from tests.support.scripted_lambda import Answer, serving
from tests.support.surveys import in_bucket, write_survey
from tests.support.tcp_proxy import tcp_proxy
from tests.support.volatile_fields import without_measurements

RANKS = 10
CUT_S = 3.0  # of `make test`; `make soak` waits ten seconds
CUT_IN_SOAK_S = 10.0


def seeds(few):
    """A few points in `make test` and twelve in `make soak`. The test's name holds the seed."""
    return [
        pytest.param(seed, marks=pytest.mark.slow if seed < few else pytest.mark.soak, id=f"seed{seed}")
        for seed in range(12)
    ]


def assert_same_outcome(harness, document, undisturbed):
    """The run has the document, redshifts and results of the undisturbed one."""
    expected, redshifts = undisturbed
    assert without_measurements(document) == without_measurements(expected)
    pd.testing.assert_frame_equal(harness.redshifts(), redshifts, check_exact=True)
    results = harness.done()
    assert sorted(results) == list(range(RANKS))
    listing = harness.store.list(harness.request["bucket"], f"{harness.path}/predictions")
    named = [json.loads(result)["predictions_path"] for result in results.values()]
    assert set(named) <= {stored.key for stored in listing}
    assert len(set(named)) == RANKS


def kill_and_start_again(harness, seed, undisturbed):
    """Kill the orchestrator when a random number of ranks has been called, and start the same request again."""
    rng = random.Random(seed)
    process = harness.start()
    harness.wait_for_calls(rng.randint(0, RANKS), process)
    time.sleep(rng.random() * 0.5)
    process.kill()
    process.wait()
    harness.settle()
    done, before = harness.done(), len(harness.calls())
    document = harness.end(harness.start())
    again = {rank for rank, _ in harness.calls()[before:]}
    assert not again & done.keys(), "finished ranks are not called again"
    assert again | done.keys() == set(range(RANKS))
    assert document["ranks_resumed"] in (len(done), 0 if len(done) < RANKS else RANKS)
    assert {rank: data for rank, data in harness.done().items() if rank in done} == done
    assert_same_outcome(harness, document, undisturbed)


@pytest.fixture(scope="module")
def survey(tmp_path_factory, tiny_weights):
    folder = tmp_path_factory.mktemp("bucket")
    write_survey(folder / "survey", sizes=(40, 30) * (RANKS // 2))
    (folder / "models").mkdir()
    for path in tiny_weights.parent.iterdir():
        shutil.copy(path, folder / "models" / path.name)
    return folder


@pytest.fixture
def local_runs(survey, tmp_path, prefect_server):
    """Makes runs on local workers, which take half a second for each rank."""

    def make(name="run"):
        return local_run(tmp_path / name, survey, prefect_server)

    return make


_known = {}


@pytest.fixture
def undisturbed(request):
    """The document and redshifts of a run that nothing disturbs, computed once for each executor."""

    def of(kind, make):
        if kind not in _known:
            harness = make("undisturbed")
            _known[kind] = harness.end(harness.start()), harness.redshifts()
        return _known[kind]

    return of


class TestLocalRun:
    @pytest.mark.parametrize("seed", seeds(1))
    def test_survives_a_killed_orchestrator(self, local_runs, undisturbed, seed):
        expected = undisturbed("local", local_runs)
        kill_and_start_again(local_runs(), seed, expected)

    @pytest.mark.parametrize("seed", seeds(0))
    def test_survives_a_killed_worker(self, local_runs, undisturbed, seed):
        expected, harness, rng = undisturbed("local", local_runs), local_runs(), random.Random(seed)
        process = harness.start()
        harness.wait_for_calls(rng.randint(1, RANKS), process)
        time.sleep(rng.random() * 0.3)
        rank, worker = harness.calls()[-1]
        os.kill(worker, signal.SIGKILL)
        document = harness.end(process)
        calls = Counter(called for called, _ in harness.calls())
        assert calls.pop(rank) in (1, 2)
        assert set(calls.values()) == {1}
        assert_same_outcome(harness, document, expected)

    @pytest.mark.parametrize("seed", seeds(0))
    def test_goes_on_when_the_prefect_server_is_gone(self, local_runs, undisturbed, prefect_server, seed):
        expected, harness, rng = undisturbed("local", local_runs), local_runs(), random.Random(seed)
        with tcp_proxy(prefect_server) as (proxy, url):
            process = harness.start(PREFECT_API_URL=url)
            harness.wait_for_calls(rng.randint(1, RANKS), process)
            proxy.cut()
            document = harness.end(process)
        shown = (harness.folder / "err").read_text()
        assert "The Prefect server does not answer. The run goes on without it" in shown
        assert "The Prefect server went away at the end of the run, which is done all the same." in shown
        assert "Traceback" not in shown
        assert Counter(rank for rank, _ in harness.calls()) == Counter(range(RANKS))
        assert_same_outcome(harness, document, expected)


@pytest.fixture
def lambda_runs(filled_bucket, emulator_url, tmp_path, prefect_server, request):
    """Makes runs on a scripted Lambda endpoint, with S3 on the emulator, each behind a TCP proxy."""
    with ExitStack() as stack:
        endpoint, url = stack.enter_context(serving(lambda event, request_id: None))

        def make(name="run"):
            folder = tmp_path / name
            folder.mkdir()
            path = f"results/{request.node.name}/{name}".replace("[", "-").replace("]", "")
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for variable, value in environment(emulator_url).items():
                patch.setenv(variable, value)
            function, lock = Function(filled_bucket, takes_s=0.3), threading.Lock()

            def work(event, request_id):
                with lock, (folder / "calls").open("a") as log:
                    log.write(f"{event['RANK']} {event['attempt']} 0\n")
                return function.work(event, request_id)

            endpoint.work = work
            endpoint.calls.clear()
            harness = RunHarness(
                folder,
                # A backup would be one more call; these have tests of their own.
                in_bucket(filled_bucket, result_path=path, world_size=RANKS, max_concurrency=2, hedging=False),
                Store("s3://"),
                ["--store", "s3://", "--executor", "lambda"],
                {},
            )
            harness.endpoint = endpoint
            harness.to_store, store_url = stack.enter_context(tcp_proxy(emulator_url))
            harness.to_lambda, lambda_url = stack.enter_context(tcp_proxy(url))
            harness.variables = environment(store_url) | {"PREFECT_API_URL": prefect_server}
            harness.variables |= {"AWS_ENDPOINT_URL_LAMBDA": lambda_url}
            return harness

        yield make


def of_path(expected, harness):
    """The undisturbed document, with the result path of another run in it."""
    document, redshifts = expected
    text = json.dumps(document).replace(document["request"]["result_path"], harness.path)
    return json.loads(text), redshifts


def failures_journalled(harness, journal):
    """Ranks whose scripted failure the run has journalled."""
    pages = harness.store.list(harness.request["bucket"], journal)
    calls = [json.loads(harness.store.read(harness.request["bucket"], page.key))["ended"] for page in pages]
    return {call["rank"] for page in calls for call in page if "no route" in (call["error"] or "")}


class TestLambdaRun:
    @pytest.mark.parametrize("seed", seeds(0))
    def test_survives_a_killed_orchestrator(self, lambda_runs, undisturbed, seed):
        expected, harness = undisturbed("lambda", lambda_runs), lambda_runs()
        kill_and_start_again(harness, seed, of_path(expected, harness))

    @pytest.mark.slow
    def test_failed_attempts_of_a_killed_orchestrator_are_on_the_bill(self, lambda_runs):
        harness = lambda_runs()
        fault = Answer(body=b'{"errorType": "OSError", "errorMessage": "no route"}', function_error="Unhandled")
        for rank in range(3):
            harness.endpoint.script(rank, fault)
        process = harness.start()
        journal = f"{harness.path}/.cosmic/journal"
        while (kept := failures_journalled(harness, journal)) < {0, 1, 2}:  # a later failure may be in no page
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
        harness.settle()
        document = harness.end(harness.start())
        assert document["ranks_done"] == RANKS
        bill = cost_of_run(harness.store.root, harness.request["bucket"], harness.path, "billed")
        for said in (bill.how, " ".join(document["notes"])):
            assert re.search(r"A run was killed after 20\S+ \S+ UTC: calls that failed in its last 5 s may", said)
        billed = load_invocations(harness.store, harness.request["bucket"], harness.path)
        assert {call.rank for call in billed if call.error and "no route" in call.error} >= kept
        assert len(billed) == len(harness.endpoint.calls), "each call is on the bill, and none twice"
        assert not harness.store.list(harness.request["bucket"], journal)

    @pytest.mark.parametrize("hop", ["to_store", "to_lambda"])
    @pytest.mark.parametrize("seed", seeds(0))
    def test_goes_on_after_seconds_without_store_or_endpoint(self, lambda_runs, undisturbed, hop, seed):
        expected, harness, rng = undisturbed("lambda", lambda_runs), lambda_runs(), random.Random(seed)
        process = harness.start()
        harness.wait_for_calls(rng.randint(1, RANKS), process)
        proxy = getattr(harness, hop)
        proxy.cut()
        time.sleep(CUT_IN_SOAK_S if seed else CUT_S)
        proxy.restore()
        document = harness.end(process)
        calls = Counter(rank for rank, _ in harness.calls())
        assert sum(calls.values()) <= RANKS + 2, "only ranks in flight are called twice"
        assert_same_outcome(harness, document, of_path(expected, harness))

    @pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap, which gives a process its own /etc/hosts")
    @pytest.mark.parametrize("hop", ["to_store", "to_lambda"])
    @pytest.mark.parametrize("seed", seeds(0)[:3])
    def test_goes_on_after_ten_seconds_in_which_no_name_is_known(self, lambda_runs, undisturbed, hop, seed):
        expected, harness, rng = undisturbed("lambda", lambda_runs), lambda_runs(), random.Random(seed)
        names, hosts = "127.0.0.1 localhost store.test lambda.test", harness.folder / "hosts"
        hosts.write_text(names)
        harness.inside = ["bwrap", "--dev-bind", "/", "/", "--bind", str(hosts), "/etc/hosts", "--"]
        for variable, url in list(harness.variables.items()):
            if variable.startswith("AWS_ENDPOINT_URL"):
                name = "lambda.test" if variable.endswith("LAMBDA") else "store.test"
                harness.variables[variable] = url.replace("127.0.0.1", name)
        process = harness.start()
        harness.wait_for_calls(rng.randint(1, RANKS - 3), process)
        hosts.write_text("127.0.0.1 localhost")
        getattr(harness, hop).cut()  # a connection that is there needs no name
        getattr(harness, hop).restore()
        time.sleep(CUT_IN_SOAK_S)
        hosts.write_text(names)
        document = harness.end(process)
        calls = Counter(rank for rank, _ in harness.calls())
        assert sum(calls.values()) <= RANKS + 2, "only ranks in flight are called twice"
        assert_same_outcome(harness, document, of_path(expected, harness))


class StateMachineHarness(RunHarness):
    """A run through the state machine on the emulator, whose function records its calls in the bucket."""

    def calls(self):
        found = self.store.list(self.request["bucket"], f"called/{self.path}")
        return [(int(stored.key.rpartition("/")[2].split("-")[0]), 0) for stored in found]


@pytest.fixture
def state_machine_runs(replaced, emulator_url, tmp_path, prefect_server, request):
    replaced("noted")

    def make(name="run"):
        folder = tmp_path / name
        folder.mkdir()
        path = f"results/{request.node.name}/{name}".replace("[", "-").replace("]", "")
        run_request = in_bucket("cosmicai-test", result_path=path, world_size=RANKS, max_concurrency=2)
        variables = environment(emulator_url) | {"PREFECT_API_URL": prefect_server}
        options = ["--store", "s3://", "--executor", "step-functions"]
        return StateMachineHarness(folder, run_request, Store("s3://"), options, variables)

    return make


class TestStateMachineRun:
    @pytest.mark.parametrize("seed", seeds(0))
    def test_survives_a_killed_orchestrator(self, state_machine_runs, undisturbed, seed):
        expected, harness = undisturbed("step-functions", state_machine_runs), state_machine_runs()
        process = harness.start()
        harness.wait_for_calls(random.Random(seed).randint(0, RANKS), process)
        process.kill()
        process.wait()
        harness.settle()  # the machine goes on by itself
        done, before = harness.done(), harness.calls()
        document = harness.end(harness.start())
        again = Counter(rank for rank, _ in harness.calls()) - Counter(rank for rank, _ in before)
        assert not again.keys() & done.keys(), "finished ranks are not called again"
        assert {rank: data for rank, data in harness.done().items() if rank in done} == done
        assert_same_outcome(harness, document, of_path(expected, harness))
