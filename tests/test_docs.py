"""The README and the docs: commands that exist, links that lead somewhere, every key of the request."""

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import COMMANDS
from inference.contract.run_request import RunRequest
from tests.support.fits_survey import write_survey

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND_LINES = re.findall(r"^    ((?:cosmic|make) .*)$", README, re.MULTILINE)


def section(title):
    """The part of the README under a heading."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_readme_command_exists_with_its_options(line):
    program, name, *words = shlex.split(line)
    if program == "make":
        assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    assert name in COMMANDS
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"flows.cli.commands.{name.replace('-', '_')}").add_arguments(parser)
    parser.parse_args(words)


def test_readme_has_at_most_800_words_and_wraps():
    assert len(README.split()) <= 800
    assert [line for line in README.splitlines() if len(line) > 140] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_links_only_to_files_that_exist(page):
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    missing = [each for each in targets if each and "://" not in each and not (page.parent / each).exists()]
    assert missing == []
    if page.parent.name == "docs":  # the site holds docs/ alone
        assert [target for target in targets if target.startswith("../")] == []


@pytest.mark.slow
def test_docs_build_as_a_site_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    assert "file_limit" in (tmp_path / "site" / "api.html").read_text()


def test_request_page_names_every_key_of_the_request():
    page = (ROOT / "docs" / "request.md").read_text()
    rows = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+)`", rows)) == set(RunRequest.model_fields)


@pytest.mark.slow
def test_readme_path_from_cutouts_to_a_catalogue_runs_as_written(tmp_path, prefect_server):
    write_survey(tmp_path / "cutouts", 30)
    text = section("Your own data")
    (tmp_path / "request.json").write_text(text.partition("```json\n")[2].partition("```")[0])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = os.environ | {"PATH": path, "PREFECT_API_URL": prefect_server}
    for line in re.findall(r"^    (cosmic .*)$", text, re.MULTILINE):
        done = subprocess.run(
            shlex.split(line), cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert (tmp_path / "redshifts.fits").exists()
