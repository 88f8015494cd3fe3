"""Whatever is killed or cut off in the middle, the same request ends in what an undisturbed run comes to."""

import json
import os
import random
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
from tests.support.quick_function import Function
from tests.support.run_harness import Scene, local_scene
from tests.support.scripted_lambda import serving
from tests.support.surveys import in_bucket, write_survey
from tests.support.tcp_proxy import cable_to
from tests.support.volatile_fields import without_measurements

RANKS = 10
CUT_S = 10.0


def seeds(few):
    """A few points in `make test`, twenty in `make soak`; the seed stands in the test's name."""
    return [
        pytest.param(seed, marks=pytest.mark.slow if seed < few else pytest.mark.soak, id=f"seed{seed}")
        for seed in range(20)
    ]


def same(scene, document, undisturbed):
    """See that a run came to what the undisturbed one did."""
    expected, redshifts = undisturbed
    assert without_measurements(document) == without_measurements(expected)
    pd.testing.assert_frame_equal(scene.redshifts(), redshifts, check_exact=True)
    results = scene.done()
    assert sorted(results) == list(range(RANKS))
    predictions = [stored.key for stored in scene.store.list(scene.wanted["bucket"], f"{scene.path}/predictions")]
    named = [json.loads(result)["predictions_path"] for result in results.values()]
    assert set(named) <= set(predictions)
    assert len(set(named)) == RANKS


def killed_and_started_again(scene, seed, undisturbed):
    """Kill the orchestrator when a random number of ranks has been called, and start the same request again."""
    rng = random.Random(seed)
    process = scene.start()
    scene.wait_for_calls(rng.randint(0, RANKS), process)
    time.sleep(rng.random() * 0.5)
    process.kill()
    process.wait()
    scene.settle()
    done, before = scene.done(), len(scene.calls())
    document = scene.end(scene.start())
    again = {rank for rank, _ in scene.calls()[before:]}
    assert not again & done.keys(), "finished ranks are not called again"
    assert again | done.keys() == set(range(RANKS))
    assert document["ranks_resumed"] in (len(done), 0 if len(done) < RANKS else RANKS)
    assert {rank: data for rank, data in scene.done().items() if rank in done} == done
    same(scene, document, undisturbed)


@pytest.fixture(scope="module")
def survey(tmp_path_factory, tiny_weights):
    folder = tmp_path_factory.mktemp("bucket")
    write_survey(folder / "survey", sizes=(40, 30) * (RANKS // 2))
    (folder / "models").mkdir()
    for path in tiny_weights.parent.iterdir():
        shutil.copy(path, folder / "models" / path.name)
    return folder


@pytest.fixture
def scenes(survey, tmp_path, prefect_server):
    """Makes the scene of a run on local workers, which take half a second a rank."""

    def make(name="scene"):
        return local_scene(tmp_path / name, survey, prefect_server)

    return make


_known = {}


@pytest.fixture
def undisturbed(request):
    """What a run comes to that nobody disturbs: computed once for each kind of scene."""

    def of(kind, make):
        if kind not in _known:
            scene = make("undisturbed")
            _known[kind] = scene.end(scene.start()), scene.redshifts()
        return _known[kind]

    return of


class TestLocalWorkers:
    @pytest.mark.parametrize("seed", seeds(1))
    def test_a_killed_orchestrator(self, scenes, undisturbed, seed):
        expected = undisturbed("local", scenes)
        killed_and_started_again(scenes(), seed, expected)

    @pytest.mark.parametrize("seed", seeds(1))
    def test_a_killed_worker(self, scenes, undisturbed, seed):
        expected, scene, rng = undisturbed("local", scenes), scenes(), random.Random(seed)
        process = scene.start()
        scene.wait_for_calls(rng.randint(1, RANKS), process)
        time.sleep(rng.random() * 0.3)
        rank, worker = scene.calls()[-1]
        os.kill(worker, signal.SIGKILL)
        document = scene.end(process)
        calls = Counter(called for called, _ in scene.calls())
        assert calls.pop(rank) in (1, 2)
        assert set(calls.values()) == {1}
        same(scene, document, expected)

    @pytest.mark.parametrize("seed", seeds(1))
    def test_a_prefect_server_that_is_gone(self, scenes, undisturbed, prefect_server, seed):
        expected, scene, rng = undisturbed("local", scenes), scenes(), random.Random(seed)
        with cable_to(prefect_server) as (cable, url):
            process = scene.start(PREFECT_API_URL=url)
            scene.wait_for_calls(rng.randint(1, RANKS), process)
            cable.cut()
            document = scene.end(process)
        told = (scene.folder / "err").read_text()
        assert "The Prefect server does not answer. The run goes on without it" in told
        assert "The Prefect server went away at the end of the run, which is done all the same." in told
        assert "Traceback" not in told
        assert Counter(rank for rank, _ in scene.calls()) == Counter(range(RANKS))
        same(scene, document, expected)


@pytest.fixture
def lambdas(filled_bucket, emulator_url, tmp_path, prefect_server, request):
    """Makes the scene of a run on a scripted Lambda endpoint, with S3 on the emulator, each behind a cable."""
    with ExitStack() as stack:
        endpoint, url = stack.enter_context(serving(lambda event, request_id: None))

        def make(name="scene"):
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
            scene = Scene(
                folder,
                # A backup would be one more call; these have tests of their own.
                in_bucket(filled_bucket, result_path=path, world_size=RANKS, max_concurrency=2, hedging=False),
                Store("s3://"),
                ["--store", "s3://", "--executor", "lambda"],
                {},
            )
            scene.to_store, store_url = stack.enter_context(cable_to(emulator_url))
            scene.to_lambda, lambda_url = stack.enter_context(cable_to(url))
            scene.variables = environment(store_url) | {"PREFECT_API_URL": prefect_server}
            scene.variables |= {"AWS_ENDPOINT_URL_LAMBDA": lambda_url}
            return scene

        yield make


def of_path(expected, scene):
    """The undisturbed document, with the other scene's result path in it."""
    document, redshifts = expected
    text = json.dumps(document).replace(document["request"]["result_path"], scene.path)
    return json.loads(text), redshifts


class TestLambda:
    @pytest.mark.parametrize("seed", seeds(1))
    def test_a_killed_orchestrator(self, lambdas, undisturbed, seed):
        expected, scene = undisturbed("lambda", lambdas), lambdas()
        killed_and_started_again(scene, seed, of_path(expected, scene))

    @pytest.mark.parametrize("line", ["to_store", "to_lambda"])
    @pytest.mark.parametrize("seed", seeds(1))
    def test_ten_seconds_without_the_store_or_the_endpoint(self, lambdas, undisturbed, line, seed):
        expected, scene, rng = undisturbed("lambda", lambdas), lambdas(), random.Random(seed)
        process = scene.start()
        scene.wait_for_calls(rng.randint(1, RANKS), process)
        cable = getattr(scene, line)
        cable.cut()
        time.sleep(CUT_S)
        cable.mend()
        document = scene.end(process)
        calls = Counter(rank for rank, _ in scene.calls())
        assert sum(calls.values()) <= RANKS + 2, "only what was in flight is called twice"
        same(scene, document, of_path(expected, scene))


class MachineScene(Scene):
    """A run through the state machine on the emulator, whose function notes its calls in the bucket."""

    def calls(self):
        found = self.store.list(self.wanted["bucket"], f"called/{self.path}")
        return [(int(stored.key.rpartition("/")[2].split("-")[0]), 0) for stored in found]


@pytest.fixture
def machines(replaced, emulator_url, tmp_path, prefect_server, request):
    replaced("noted")

    def make(name="scene"):
        folder = tmp_path / name
        folder.mkdir()
        path = f"results/{request.node.name}/{name}".replace("[", "-").replace("]", "")
        wanted = in_bucket("cosmicai-test", result_path=path, world_size=RANKS, max_concurrency=2)
        variables = environment(emulator_url) | {"PREFECT_API_URL": prefect_server}
        words = ["--store", "s3://", "--executor", "step-functions"]
        return MachineScene(folder, wanted, Store("s3://"), words, variables)

    return make


class TestStepFunctions:
    @pytest.mark.parametrize("seed", seeds(0))
    def test_a_killed_orchestrator(self, machines, undisturbed, seed):
        expected, scene = undisturbed("step-functions", machines), machines()
        process = scene.start()
        scene.wait_for_calls(random.Random(seed).randint(0, RANKS), process)
        process.kill()
        process.wait()
        scene.settle()  # the machine goes on by itself
        done, before = scene.done(), scene.calls()
        document = scene.end(scene.start())
        again = Counter(rank for rank, _ in scene.calls()) - Counter(rank for rank, _ in before)
        assert not again.keys() & done.keys(), "finished ranks are not called again"
        assert {rank: data for rank, data in scene.done().items() if rank in done} == done
        same(scene, document, of_path(expected, scene))
