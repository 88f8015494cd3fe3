import pytest

from flows.cli import main
from inference.storage.store import Store


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """What the browser is given: BROWSER names a program that notes its argument."""
    browser, noted = tmp_path / "browser", tmp_path / "noted"
    browser.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{noted}'\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setattr("webbrowser._browsers", {})
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    return noted


def test_open_gives_the_report_to_the_browser_and_prints_its_address(opened, tmp_path, capsys):
    Store(tmp_path / "store").write("my-survey", "results/first/report.html", b"<p>")
    assert main(["open", "my-survey/results/first", "--store", str(tmp_path / "store")]) == 0
    address = (tmp_path / "store/my-survey/results/first/report.html").as_uri()
    assert capsys.readouterr().out == f"{address}\n"
    assert opened.read_text() == address


def test_open_without_a_report_says_where_none_is(tmp_path, capsys):
    (tmp_path / "my-survey").mkdir()
    assert main(["open", "my-survey/results/none", "--store", str(tmp_path)]) == 2
    assert "there is no report my-survey/results/none/report.html" in capsys.readouterr().err
