import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.model.checkpoint import save
from inference.partitions.partition import write_partition
from inference.runs.begin import run_leases
from inference.storage.store import Store
from inference.storage.writable import check_writable
from tasks.plan import plan_ranks
from tasks.preflight import hand_over, prepare
from tasks.stage import stage_scripts
from tests.support.models import KINDS, random_model
from tests.support.surveys import random_survey, request_of, snapshot

BUCKET, PATH = "cosmicai-test", "results/test"


def request(**changes):
    return RunRequest.read(request_of(engine="torch", **changes))


def check(wanted, survey_store):
    return prepare(wanted, survey_store, "local", None)


class TestPrepare:
    def test_prepare_writes_nothing_and_returns_what_it_found(self, survey_store):
        before = snapshot(survey_store.parent)
        found = check(request(), str(survey_store))
        assert snapshot(survey_store.parent) == before
        assert [stored.key for stored in found.listing] == [f"survey/{number}.pt" for number in (1, 2, 3, 4)]
        assert found.weights.key == "models/tiny.safetensors"
        assert (found.script_source, found.store_root) == (None, str(survey_store))

    def test_prepare_makes_no_partitions(self, survey_store, tmp_path):
        write_partition(tmp_path / "survey.pt", *random_survey(20))
        before = snapshot(tmp_path)
        wanted = {"source": str(tmp_path / "survey.pt"), "size": 10}
        assert check(request(data_prefix="made", partition=wanted), str(survey_store)).listing is None
        assert snapshot(tmp_path) == before

    def test_prepare_refuses_an_interpreter_that_is_not_here(self, survey_store):
        (survey_store / BUCKET / "one").mkdir()
        (survey_store / BUCKET / "one" / "run.py").write_text("print(1)")
        before = snapshot(survey_store)
        script = {"script": "/tmp/one/run.py", "S3_object_name": "one", "model": None, "python": "/nowhere/python"}
        with pytest.raises(BadInput, match="python: there is no interpreter '/nowhere/python'"):
            check(RunRequest.read(request_of(**script)), str(survey_store))
        assert snapshot(survey_store) == before

    @pytest.mark.parametrize(
        ("requirements", "named"),
        [
            ("--no-index\nnobodys_package==1\n", "No matching distribution found for nobodys_package==1"),
            ("-r other.txt\n", "names another file"),
            (None, "there is no file"),
        ],
    )
    def test_prepare_refuses_an_environment_that_cannot_be(
        self, survey_store, tmp_path, monkeypatch, requirements, named
    ):
        monkeypatch.setenv("COSMIC_ENVIRONMENTS", str(tmp_path / "environments"))
        (survey_store / BUCKET / "one").mkdir()
        (survey_store / BUCKET / "one" / "run.py").write_text("print(1)")
        wanted = tmp_path / "needs.txt"
        if requirements is not None:
            wanted.write_text(requirements)
        before = snapshot(survey_store)
        script = {"script": "/tmp/one/run.py", "S3_object_name": "one", "model": None}
        with pytest.raises(BadInput, match=f"script_environment: .*{named}"):
            check(RunRequest.read(request_of(**script, script_environment=str(wanted))), str(survey_store))
        assert snapshot(survey_store) == before

    def test_prepare_does_not_look_at_prices(self, survey_store):
        assert check(request(region="mars-1"), str(survey_store)).request.region == "mars-1"

    @pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"data_prefix": "nothing"}, f"no partitions .* under {BUCKET}/nothing/"),
            ({"data_prefix": "models/none"}, f"no partitions .* under {BUCKET}/models/none/"),
            ({"data_bucket": "no-such-bucket"}, "no partitions .* under no-such-bucket/survey/"),
            ({"model": "models/none.safetensors"}, "models/none.safetensors"),
            ({"model": "survey/1.pt"}, r"1\.pt is a pickled checkpoint"),
            ({"model": "models/other.safetensors"}, r"other\.safetensors takes images of 4 bands"),
            ({"model": "models/damaged.safetensors"}, r"damaged\.safetensors"),
            ({"partition": {"source": "/nowhere.pt", "size": 10}}, r"/nowhere\.pt"),
            ({"partition": {"source": "{models}/tiny.safetensors", "size": 10}}, r"tiny\.safetensors"),
            ({"partition": {"source": "{survey}/1.pt", "size": 0}}, "size"),
            ({"partition": {"source": "{survey}/1.pt", "size": "1 apple"}}, "1 apple"),
            ({"partition": {"source": "{survey}/1.pt", "size": 10}}, "holds partitions that were not made from"),
        ],
    )
    def test_prepare_refuses_wrong_input_in_one_sentence(self, survey_store, engine, changes, named):
        models = survey_store / BUCKET / "models"
        save(models / "other.safetensors", random_model(KINDS["other sizes"]))
        (models / "damaged.safetensors").write_bytes((models / "tiny.safetensors").read_bytes()[:-8])
        if "partition" in changes:
            source = changes["partition"]["source"].format(models=models, survey=survey_store / BUCKET / "survey")
            changes = {"partition": changes["partition"] | {"source": source}}
        before = snapshot(survey_store.parent)
        with pytest.raises(BadInput, match=named) as raised:
            check(RunRequest.read(request_of(engine=engine, **changes)), str(survey_store))
        assert "\n" not in str(raised.value)
        assert snapshot(survey_store.parent) == before

    @pytest.mark.parametrize(
        "name", ["summary.json", "report.html", "payload.json", "predictions", "predictions/0.npy"]
    )
    @pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
    def test_prepare_refuses_a_link_that_leads_out_of_the_result_path(self, survey_store, tmp_path, name, there):
        link, outside = survey_store / BUCKET / PATH / name, tmp_path / "outside"
        link.parent.mkdir(parents=True)
        link.symlink_to(outside)
        if there:
            outside.mkdir()
        with pytest.raises(BadInput, match=f"{PATH}/{name} lies behind a symbolic link"):
            check(request(), str(survey_store))
        assert [path.name for path in tmp_path.rglob("*") if "outside" in path.parts and path != outside] == []

    @pytest.mark.parametrize("way", ["results", PATH])
    def test_prepare_refuses_a_file_where_the_results_must_lie(self, survey_store, way):
        (survey_store / BUCKET / way).parent.mkdir(exist_ok=True)
        (survey_store / BUCKET / way).write_text("mine")
        with pytest.raises(BadInput, match=f"{way} is in the way: it is no folder"):
            check(request(), str(survey_store))

    def test_prepare_refuses_a_folder_where_the_summary_must_lie(self, survey_store):
        (survey_store / BUCKET / PATH / "summary.json").mkdir(parents=True)
        with pytest.raises(BadInput, match=r"summary\.json is in the way: it is a folder"):
            check(request(), str(survey_store))

    def test_prepare_refuses_a_pipe_among_the_results(self, survey_store):
        (survey_store / BUCKET / PATH).mkdir(parents=True)
        os.mkfifo(survey_store / BUCKET / PATH / "0.json")
        with pytest.raises(BadInput, match=f"{PATH}/0.json is no regular file"):
            check(request(), str(survey_store))

    def test_prepare_takes_a_link_that_stays_in_its_bucket(self, survey_store):
        (survey_store / BUCKET / "elsewhere").mkdir()
        (survey_store / BUCKET / "results").symlink_to("elsewhere")
        check(request(), str(survey_store))

    def test_prepare_accepts_a_store_that_does_not_exist_yet(self, survey_store, tmp_path):
        survey = tmp_path / "survey.pt"
        write_partition(survey, *random_survey(20))
        model = shutil.copy(survey_store / BUCKET / "models" / "tiny.safetensors", tmp_path)
        check(request(model=str(model), partition={"source": str(survey), "size": 10}), str(tmp_path / "new" / "store"))
        assert not (tmp_path / "new").exists()


class TestWhetherAStoreCanBeWritten:
    @pytest.mark.parametrize("place", [".", "new", "a/b/c/new"])
    def test_a_folder_that_is_there_or_can_be_made_passes_and_is_not_made(self, tmp_path, place):
        check_writable(Store(tmp_path / place))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("place", ["file", "file/store", "file/a/b"])
    def test_a_place_at_or_under_a_file_is_refused(self, tmp_path, place):
        (tmp_path / "file").write_text("")
        with pytest.raises(BadInput, match=rf"{place} cannot be written: {tmp_path}/file"):
            check_writable(Store(tmp_path / place))

    def test_a_place_the_system_reserves_is_refused_even_for_root(self):
        with pytest.raises(BadInput, match="/proc/store cannot be written: /proc"):
            check_writable(Store("/proc/store"))

    def test_a_name_that_no_folder_can_have_is_refused(self, tmp_path):
        with pytest.raises(BadInput, match="File name too long"):
            check_writable(Store(tmp_path / ("a" * 300)))

    def test_over_s3_the_first_write_tells(self):
        check_writable(Store("s3://"))


class TestHandOver:
    def test_prepare_takes_what_was_handed_over_and_only_once(self, survey_store):
        found = check(request(), str(survey_store))
        with hand_over(found):
            assert check(request(), str(survey_store)) is found
            assert check(request(), str(survey_store)) is not found

    @pytest.mark.parametrize("changes", [{"batch_size": 7}, {"data_prefix": "survey2"}])
    def test_prepare_looks_again_for_another_request(self, survey_store, changes):
        shutil.copytree(survey_store / BUCKET / "survey", survey_store / BUCKET / "survey2")
        with hand_over(check(request(), str(survey_store))):
            other = check(request(**changes), str(survey_store))
        assert other.request == request(**changes)

    def test_prepare_looks_again_for_another_executor(self, survey_store):
        with hand_over(check(request(), str(survey_store))):
            assert prepare(request(), str(survey_store), "local", 0).executor.in_process


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_listing_and_weights_are_looked_up_once_a_run(survey_store, engine, monkeypatch):
    asked = []
    for name in ("list", "head", "read"):
        original = getattr(Store, name)

        def counted(store, bucket, key, *more, _name=name, _original=original):
            asked.append((_name, key))
            return _original(store, bucket, key, *more)

        monkeypatch.setattr(Store, name, counted)
    for artifact in ("stage.create_markdown_artifact", "plan.create_table_artifact"):
        monkeypatch.setattr(f"tasks.{artifact}", lambda *_, **__: None)  # no server here
    wanted = request().model_copy(update={"engine": engine})
    prepared = check(wanted, str(survey_store))
    with hand_over(prepared):  # as the command does, before the flow looks
        prepared = check(wanted, str(survey_store))
    workload = stage_scripts.fn(prepared)
    with run_leases(Store(survey_store), prepared.request, "run") as leases:
        start = plan_ranks.fn(prepared.request, prepared.listing, workload, str(survey_store), leases[0], False)
    assert start.plan.world_size == 4
    assert asked.count(("list", "survey")) == 1
    assert asked.count(("head", "models/tiny.safetensors")) == 1
    assert asked.count(("read", "models/tiny.safetensors")) == 0, "a folder's own file is used where it lies"


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (403, "AccessDenied", "another account's"),
        (301, "PermanentRedirect", "another region: set AWS_REGION"),
        (400, "ExpiredToken", "expired"),
        (403, "InvalidAccessKeyId", "AWS does not know the access key"),
    ],
)
def test_prepare_explains_a_bucket_that_s3_refuses(monkeypatch, status, code, raised):
    class Refusal(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            raise AssertionError("something was written")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    with pytest.raises(BadInput, match=raised) as error:
        check(request(), "s3://")
    assert "canary" not in str(error.value)
    server.shutdown()
    server.server_close()
