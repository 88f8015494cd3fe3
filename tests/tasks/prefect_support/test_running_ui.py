import pytest

from inference.errors import BadInput
from tasks.prefect_support.running_ui import RunningUi, announced, running_ui


def ui(port=4200):
    return RunningUi(f"http://127.0.0.1:{port}/api", f"http://127.0.0.1:{port + 1}", "/store")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))


def test_running_ui_is_none_where_none_was_started():
    assert running_ui() is None


def test_running_ui_is_what_is_served_while_it_is_announced_and_no_longer():
    with announced(ui()):
        assert running_ui() == ui()
    assert running_ui() is None


def test_announced_address_replaces_an_older_one():
    for port in (4200, 42):
        with announced(ui(port)):
            assert running_ui() == ui(port)


def test_announced_refuses_a_second_server():
    with (
        announced(ui()),
        pytest.raises(BadInput, match=r"running already, at http://127\.0\.0\.1:4200/api"),
        announced(ui(4201)),
    ):
        pass


def test_running_ui_of_another_home_is_not_found(tmp_path, monkeypatch):
    with announced(ui()):
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "other"))
        assert running_ui() is None
