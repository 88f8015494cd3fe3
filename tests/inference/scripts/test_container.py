"""Scripts in a container image. Those that start one are skipped, and say so, where podman starts none."""

import dataclasses
import re
import subprocess
import time
from pathlib import Path

import pytest

from inference.errors import BadInput, RankFailed
from inference.scripts.container import Container
from inference.scripts.run_script import run_script
from inference.worker import LocalContext
from tests.support.containers import IMAGE, image_in
from tests.support.staged_scripts import WRITES_A_RESULT, local_store, put_script

NAME = "Galaxies, red"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    with image_in(tmp_path_factory.mktemp("image")) as settings:
        yield settings


@pytest.fixture
def podman(config, monkeypatch):
    monkeypatch.setenv("CONTAINERS_CONF", config)


@pytest.fixture
def store(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    return local_store(tmp_path)


def run(store, text, limit_s=60.0, **changes):
    event = put_script(store, text, NAME)
    event = dataclasses.replace(event, script=dataclasses.replace(event.script, image=IMAGE, **changes))
    return run_script(store, event, event.to_wire(), LocalContext(limit_s=limit_s))


def containers():
    command = ["podman", "ps", "--all", "--quiet", f"--filter=ancestor={IMAGE}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.usefixtures("podman")
class TestInAnImage:
    def test_script_finds_its_folder_its_store_and_a_tmp_of_its_own(self, store, tmp_path, monkeypatch):
        monkeypatch.setenv("TEAM_PASSWORD", "known to the worker alone")
        looks = f"""
import os, sys
assert __file__ == "/tmp/{NAME}/run.py" and sys.argv[1:] == ["--device", "a b"], (__file__, sys.argv)
assert os.getcwd() == "/tmp" and os.path.exists("{NAME}/run.py")
open("/tmp/payload-of-rank-3.json", "w").close()
until = os.times().user + 0.3
while os.times().user < until: pass
"""
        result = run(store, looks + WRITES_A_RESULT, arguments="--device 'a b'")
        seen = result.script_record["seen"]
        assert (seen["RANK"], seen["COSMIC_STORE"]) == ("3", store.root)
        assert "TEAM_PASSWORD" not in seen
        assert 0.3 <= result.cpu_total_s < 5
        assert result.peak_rss_mb > 1
        assert containers() == ""
        assert not Path("/tmp/payload-of-rank-3.json").exists()
        assert [path.name for path in (tmp_path / "scratch" / NAME).iterdir()] == ["run.py"]

    @pytest.mark.parametrize(
        ("ends", "cause"),
        [
            ('import sys; sys.exit("no weights")', "the script ended with exit code 1; its last lines:\nno weights"),
            ("import os; os.kill(os.getpid(), 9)", "the script was killed by SIGKILL: out of memory"),
            ("import sys; sys.exit(125)", "the script ended with exit code 125"),
            ("import timm", " has no module timm: build it with"),
        ],
    )
    def test_script_that_fails_fails_its_rank_as_without_an_image(self, store, ends, cause):
        with pytest.raises(RankFailed, match=re.escape(cause)):
            run(store, ends)

    def test_script_that_hangs_is_stopped_with_its_container(self, store):
        started = time.monotonic()
        with pytest.raises(RankFailed, match=r"ran longer than .* and was stopped"):
            run(store, "import time; time.sleep(600)", limit_s=5.0)
        assert time.monotonic() - started < 60
        assert containers() == ""

    def test_image_that_is_not_to_be_had_is_refused_by_name(self):
        with pytest.raises(BadInput, match=r"^script_environment: the image localhost:1/none:1 cannot be had: \S"):
            Container("localhost:1/none:1")


def test_image_without_an_engine_is_refused_with_the_way_on(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"team/astro:1 needs podman or docker where the ranks run: install one, or"):
        Container("team/astro:1")


def test_image_in_a_function_is_refused_with_the_way_on(monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "cosmic-executor")
    with pytest.raises(BadInput, match="cosmic deploy --image-uri"):
        Container("team/astro:1")


@pytest.mark.parametrize("image", ["--privileged:1", "-v:1", "astro", "UPPER:1", "a b:1", "a:1\n", f"{'a' * 260}:1"])
def test_event_with_what_is_no_image_is_refused_by_its_key(store, image):
    event = put_script(store, WRITES_A_RESULT)
    wire = dataclasses.replace(event, script=dataclasses.replace(event.script, image=IMAGE)).to_wire()
    assert type(event).from_wire(wire).script.image == IMAGE
    with pytest.raises(BadInput, match=r"^script_image: .* is no name of an image with a tag or a digest"):
        type(event).from_wire(wire | {"script_image": image})
