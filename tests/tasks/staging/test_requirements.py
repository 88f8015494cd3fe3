import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.staging.requirements import read_requirements
from tests.support.surveys import request_of

BUCKET = "cosmicai-test"
SCRIPT = {"script": "/tmp/one/run.py", "S3_object_name": "one", "model": None}


def request(name, **changes):
    return RunRequest.read(request_of(**SCRIPT, script_environment=str(name), **changes))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "store")


def test_file_of_this_machine_is_read(store, tmp_path):
    (tmp_path / "needs.txt").write_text("numpy>=2  # arrays\n\n--index-url https://example.org/simple\n")
    assert read_requirements(request(tmp_path / "needs.txt"), store).startswith("numpy>=2")
    assert read_requirements(request("needs.txt"), store).startswith("numpy>=2")


def test_file_of_the_scripts_folder_is_read_here_or_in_the_bucket(store, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "requirements.txt").write_text("timm==1.0\n")
    asked = request("requirements.txt", script_source=str(tmp_path / "source"))
    assert read_requirements(asked, store) == "timm==1.0\n"
    store.write(BUCKET, "one/requirements.txt", b"timm==0.9\n")
    assert read_requirements(request("requirements.txt"), store) == "timm==0.9\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "torch==2.1 --hash=sha256:abc \\\n    --hash=sha256:def\n",
        "git+https://example.org/one.git\n/shared/wheels/one-1.0-py3-none-any.whl\n",
        "timm[all]>=1; python_version > '3.8'\r\n",
        "one @ https://example.org/one.whl\n--find-links /shared/wheels\n-i https://example.org\n",
    ],
)
def test_what_pip_takes_on_every_machine_passes(store, tmp_path, text):
    (tmp_path / "needs.txt").write_bytes(text.encode())
    assert read_requirements(request("needs.txt"), store) == text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"numpy\n\n-r base.txt\n", r"line 3 of needs\.txt names another file"),
        (b"numpy\n-e .\n", r"line 2 of needs\.txt names another file"),
        (b"--constraint=c.txt\n", r"line 1 of needs\.txt names another file"),
        (b"a\\\n>=1\n./own\n", r"line 3 of needs\.txt is no requirement of Python packages: './own'"),
        (b"torch=2.1\n", r"line 1 of needs\.txt is no requirement of Python packages: 'torch=2.1'"),
        (b"\xff\xfe", r"needs\.txt is no text file"),
        (b"x" * 40_000, r"needs\.txt is larger than 32 KB"),
    ],
)
def test_what_is_no_requirements_file_is_refused_by_its_line(store, tmp_path, content, sentence):
    (tmp_path / "needs.txt").write_bytes(content)
    with pytest.raises(BadInput, match=f"^script_environment: {sentence}"):
        read_requirements(request("needs.txt"), store)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.txt", "there is no file 'none.txt', neither on this machine nor in the script's folder"),
        (
            "ghcr.io/team/astro",
            "there is no file 'ghcr.io/team/astro', .* name of a container image ends in a tag",
        ),
        ("a\0b.txt", "holds a NUL or half a character"),
    ],
)
def test_what_is_neither_a_file_nor_an_image_is_refused_with_the_way_on(store, name, sentence):
    with pytest.raises(BadInput, match=f"^script_environment:? .*{sentence}"):
        read_requirements(request(name), store)


def test_environment_goes_with_a_script_and_without_python():
    with pytest.raises(BadInput, match="script_environment goes with script, which the request lacks"):
        RunRequest.read(request_of(script_environment="needs.txt"))
    with pytest.raises(BadInput, match="the request has both python and script_environment"):
        request("needs.txt", python="python3")


def test_image_has_no_requirements(store):
    assert read_requirements(request("ghcr.io/team/astro:1"), store) == ""
