import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.model.checkpoint import save
from inference.partitions.partition import write_partition
from inference.runs.plan import Model, make_plan, payload, read_request
from inference.storage.store import Store, check_writable
from tasks.preflight import check
from tests.support.models import KINDS, TINY, random_model
from tests.support.surveys import random_survey, request_of, snapshot, write_survey

BUCKET, PATH = "cosmicai-test", "results/test"


@pytest.fixture
def root(tmp_path):
    """A store with a survey of four partitions and a model."""
    root = tmp_path / "store"
    write_survey(root / BUCKET / "survey")
    (root / BUCKET / "models").mkdir()
    save(root / BUCKET / "models" / "tiny.safetensors", random_model(TINY))
    return root


def request(**changes):
    return RunRequest.read(request_of(engine="torch", **changes))


class TestTheLookBeforeTheFirstWrite:
    def test_what_is_fit_to_run_passes_and_nothing_is_written(self, root):
        before = snapshot(root.parent)
        check(request(), str(root))
        assert snapshot(root.parent) == before

    def test_partitions_still_to_be_made_pass_and_are_not_made(self, root, tmp_path):
        write_partition(tmp_path / "survey.pt", *random_survey(20))
        before = snapshot(tmp_path)
        wanted = {"source": str(tmp_path / "survey.pt"), "size": 10}
        check(request(data_prefix="made", partition=wanted), str(root))
        assert snapshot(tmp_path) == before

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
    def test_each_wrong_input_is_one_sentence_and_nothing_is_written(self, root, engine, changes, named):
        models = root / BUCKET / "models"
        save(models / "other.safetensors", random_model(KINDS["other sizes"]))
        (models / "damaged.safetensors").write_bytes((models / "tiny.safetensors").read_bytes()[:-8])
        if "partition" in changes:
            source = changes["partition"]["source"].format(models=models, survey=root / BUCKET / "survey")
            changes = {"partition": changes["partition"] | {"source": source}}
        before = snapshot(root.parent)
        with pytest.raises(BadInput, match=named) as told:
            check(RunRequest.read(request_of(engine=engine, **changes)), str(root))
        assert "\n" not in str(told.value)
        assert snapshot(root.parent) == before

    def test_a_store_that_is_not_there_yet_is_no_mistake_by_itself(self, root, tmp_path):
        survey = tmp_path / "survey.pt"
        write_partition(survey, *random_survey(20))
        model = shutil.copy(root / BUCKET / "models" / "tiny.safetensors", tmp_path)
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

    def test_a_place_that_the_system_keeps_for_itself_is_refused_also_for_the_superuser(self):
        with pytest.raises(BadInput, match="/proc/store cannot be written: /proc"):
            check_writable(Store("/proc/store"))

    def test_a_name_that_no_folder_can_have_is_refused(self, tmp_path):
        with pytest.raises(BadInput, match="cannot be written"):
            check_writable(Store(tmp_path / ("a" * 300)))

    def test_over_s3_the_first_write_tells(self):
        check_writable(Store("s3://"))


class TestReadingARequestBack:
    def kept(self, root, wanted):
        store = Store(root)
        plan = make_plan(wanted, store.list(BUCKET, "survey"), Model("models/tiny.safetensors", "ab" * 32), store.root)
        store.write(BUCKET, f"{PATH}/payload.json", json.dumps(payload(wanted, plan, "run")).encode())
        return read_request(store, BUCKET, PATH)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"world_size": "3", "order": "lexicographic", "max_concurrency": 2, "rank_timeout": 12.5},
            {"partition": {"source": "survey.pt", "size": "25MB"}, "memory_mb": 1024, "architecture": "arm64"},
        ],
    )
    def test_it_is_the_request_that_was_run_with_its_ranks_counted(self, root, changes):
        wanted = request(**changes)
        assert self.kept(root, wanted) == wanted.model_copy(update={"world_size": wanted.world_size or 4})

    def test_what_is_read_back_plans_the_same_ranks(self, root):
        wanted = request()
        again = self.kept(root, wanted)
        assert self.kept(root, again) == again

    def test_a_result_path_without_a_run_is_told_by_name(self, root):
        with pytest.raises(BadInput, match=f"no run under {BUCKET}/{PATH}"):
            read_request(Store(root), BUCKET, PATH)

    @pytest.mark.parametrize(
        "text",
        ["", "{", "null", "[]", '["bucket"]', "7", "{}", '{"bucket": 7}', '"bucket"', "[" * 20_000, b"\xff"],
    )
    def test_a_damaged_payload_is_told_by_name(self, root, text):
        store = Store(root)
        store.write(BUCKET, f"{PATH}/payload.json", text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BadInput, match=rf"{BUCKET}/{PATH}/payload\.json is damaged") as told:
            read_request(store, BUCKET, PATH)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "another account's"),
        (301, "PermanentRedirect", "another region: set AWS_REGION"),
        (400, "ExpiredToken", "expired"),
        (403, "InvalidAccessKeyId", "AWS does not know the access key"),
    ],
)
def test_a_bucket_that_s3_refuses_is_told_before_the_first_write(monkeypatch, status, code, told):
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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    with pytest.raises(BadInput, match=told) as error:
        check(request(), "s3://")
    assert "canary" not in str(error.value)
    server.shutdown()
    server.server_close()
