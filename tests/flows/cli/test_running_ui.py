import pytest

from flows.cli.running_ui import announced, running_ui
from inference.errors import BadInput


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))


def test_running_ui_is_none_where_none_was_started():
    assert running_ui() is None


def test_running_ui_is_the_address_while_it_is_announced_and_no_longer():
    with announced("http://127.0.0.1:4200/api"):
        assert running_ui() == "http://127.0.0.1:4200/api"
    assert running_ui() is None


def test_announced_address_replaces_an_older_one():
    for port in (4200, 42):
        with announced(f"http://127.0.0.1:{port}/api"):
            assert running_ui() == f"http://127.0.0.1:{port}/api"


def test_announced_refuses_a_second_server():
    with (
        announced("http://127.0.0.1:4200/api"),
        pytest.raises(BadInput, match=r"running already, at http://127\.0\.0\.1:4200/api"),
        announced("http://127.0.0.1:4201/api"),
    ):
        pass


def test_running_ui_of_another_home_is_not_found(tmp_path, monkeypatch):
    with announced("http://127.0.0.1:4200/api"):
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "other"))
        assert running_ui() is None
