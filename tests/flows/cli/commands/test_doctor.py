import json

import pytest

from flows.cli import main
from tests.conftest import point_at


@pytest.fixture
def examined(tmp_path, monkeypatch, capsys):
    """(exit code, {what: check}) of `cosmic doctor`, without AWS and without a Prefect server unless a test has one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))

    def examine(*words, store=tmp_path / "not" / "there"):
        code = main(["doctor", "--json", "--store", str(store), *words])
        return code, {check["what"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    return examine


def test_a_machine_without_aws_and_server_is_well(examined, tmp_path):
    code, checks = examined()
    assert code == 0
    assert {checks[what]["state"] for what in ("Python", "libraries", "disk", "extra train", "extra emulator")} == {
        "ok"
    }
    assert {checks[what]["state"] for what in ("Prefect server", "AWS identity")} == {"absent"}
    assert not (tmp_path / "not").exists()


def test_aws_without_credentials_is_a_fault_where_the_store_is_s3(examined):
    code, checks = examined(store="s3://")
    assert code == 1
    assert checks["AWS identity"]["state"] == "failed"
    assert "set AWS_ACCESS_KEY_ID" in checks["AWS identity"]["found"]


@pytest.mark.slow
def test_the_emulator_is_distinguished_from_aws(examined, emulator_url, monkeypatch):
    point_at(emulator_url, monkeypatch)
    code, checks = examined(store="s3://")
    assert code == 0
    assert checks["AWS identity"]["found"].startswith("arn:aws:")
    assert checks["AWS region"]["found"] == f"us-east-1, at {emulator_url} (the emulator)"


def test_a_server_that_does_not_answer_is_named(examined):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        code, checks = examined()
    assert code == 1
    assert checks["Prefect server"]["state"] == "failed"
    assert "http://127.0.0.1:9/api" in checks["Prefect server"]["found"]


def test_a_person_reads_one_line_a_check_and_the_way_on(examined, capsys, tmp_path):
    main(["doctor", "--store", str(tmp_path)])
    out = capsys.readouterr().out
    assert out.startswith("ok      Python          3.")
    assert "-> `cosmic ui` in a terminal" in out
