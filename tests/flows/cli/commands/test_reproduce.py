import pytest

from flows.cli import main
from flows.cli.commands import reproduce
from tasks.reproduction.scales import SCALES


def test_command_knows_the_scales_that_there_are():
    assert tuple(SCALES) == reproduce._SCALES


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize(
    ("words", "named"),
    [(["--store", "s3://"], "--store must be a folder"), (["--to", "file"], "file")],
)
def test_reproduce_refuses_what_cannot_be_before_anything_is_made(words, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert main(["reproduce", *words]) == 2
    assert named in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
