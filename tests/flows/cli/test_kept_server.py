import os
import subprocess
import sys
import time
import urllib.request

import pytest

from flows.cli import kept_server
from flows.cli.kept_server import Announcement, Users, announced_server, server_fingerprint
from flows.cli.temporary_server import TemporaryServer
from inference.errors import BadInput


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A Prefect home and a working folder of this test's own."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect-home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "prefect-home"


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2.5", 150), (" 1 ", 60), ("1440", 86400)])
def test_seconds_to_stay_are_the_minutes_of_the_setting(monkeypatch, text, seconds):
    monkeypatch.setenv("COSMIC_KEEP_SERVER", text)
    assert kept_server.seconds_to_stay() == seconds


@pytest.mark.parametrize("text", ["-1", "five", "nan", "inf", "1441", "0x5"])
def test_setting_that_is_no_number_of_minutes_is_refused(monkeypatch, text):
    monkeypatch.setenv("COSMIC_KEEP_SERVER", text)
    with pytest.raises(BadInput, match="COSMIC_KEEP_SERVER must be minutes from 0 to 1440"):
        kept_server.seconds_to_stay()


def test_nothing_stays_of_a_command_that_has_no_terminal(monkeypatch):
    monkeypatch.delenv("COSMIC_KEEP_SERVER", raising=False)
    assert kept_server.seconds_to_stay() == 0


def test_announced_server_is_found_until_its_process_ends():
    file = Announcement("http://127.0.0.1:1/api", "same").publish()
    assert announced_server("same") == "http://127.0.0.1:1/api"
    assert announced_server("other") is None
    assert Announcement("http://127.0.0.1:2/api", "same").publish() is None, "one server is announced at a time"
    file.close()
    assert announced_server("same") is None


@pytest.mark.parametrize(
    "text", ["", "{", "\udcff", "[]", '["http://127.0.0.1:1/api"]', "17", "\0\0", '["a", "b", "c"]']
)
def test_damaged_announcement_is_no_server(home, text):
    held = Announcement("http://127.0.0.1:1/api", "same").publish()
    (home / "cosmic-server").write_text(text, errors="surrogateescape")
    assert announced_server("same") is None
    held.close()


def test_announcement_that_is_a_link_is_not_followed(home, tmp_path):
    home.mkdir()
    (tmp_path / "precious").write_text("kept")
    (home / "cosmic-server").symlink_to(tmp_path / "precious")
    assert Announcement("http://127.0.0.1:1/api", "same").publish() is None
    assert announced_server("same") is None
    assert (tmp_path / "precious").read_text() == "kept"


def test_announcement_of_another_user_is_no_server(home, monkeypatch):
    held = Announcement("http://127.0.0.1:1/api", "same").publish()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert announced_server("same") is None
    held.close()


@pytest.mark.parametrize("change", ["variable", "profile", "folder"])
def test_fingerprint_follows_the_settings_of_prefect(home, monkeypatch, tmp_path, change):
    before = server_fingerprint()
    assert server_fingerprint() == before
    if change == "variable":
        monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:///elsewhere.db")
    elif change == "profile":
        home.mkdir()
        (home / "profiles.toml").write_text('active = "mine"')
    else:
        (tmp_path / "prefect.toml").write_text("[server]")
    assert server_fingerprint() != before


def test_fingerprint_is_the_same_whatever_is_logged(monkeypatch):
    before = server_fingerprint()
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    assert server_fingerprint() == before


def test_server_that_is_just_ending_is_joined_by_nobody():
    server, first, second = Users(), Users(), Users()
    assert first.join()
    assert second.join()
    assert not server.are_none()
    first.leave()
    second.leave()
    assert server.are_none()
    assert not first.join()
    server.leave()
    assert first.join()


def test_user_that_is_killed_uses_the_server_no_more():
    code = "from flows.cli.kept_server import Users; users = Users(); print(users.join(), flush=True); input()"
    user = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert user.stdout.readline() == "True\n"
    assert not Users().are_none()
    user.kill()
    user.communicate()
    assert Users().are_none()


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=60):
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_second_command_finds_the_server_which_then_ends_by_itself(home, monkeypatch):
    monkeypatch.setenv("COSMIC_KEEP_SERVER", "0.02")
    home.mkdir()
    (home / "cosmic-server").write_text('["http://127.0.0.1:9/api", "of a server that was killed"]')
    first = TemporaryServer()
    try:
        first.wait()
        second = TemporaryServer()
        assert (first.found, second.found, second.url) == (False, True, first.url)
        second.wait()
        first.stop()
        time.sleep(3)
        assert answers(second.url), "its second user is still there"
        second.stop()
        end = time.monotonic() + 60
        while answers(first.url) and time.monotonic() < end:
            time.sleep(0.1)
        assert not answers(first.url)
        assert announced_server(server_fingerprint()) is None
    finally:
        first.kill()


@pytest.mark.slow
def test_two_commands_at_once_have_a_server_each_or_share_one(monkeypatch):
    monkeypatch.setenv("COSMIC_KEEP_SERVER", "0.02")
    servers = [TemporaryServer() for _ in range(2)]
    try:
        for server in servers:
            server.wait()
    finally:
        for server in servers:
            server.kill()
