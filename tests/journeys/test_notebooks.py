"""The notebooks of the docs, executed as they stand."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

BOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.soak
@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_notebook_runs_as_it_stands(book, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("PREFECT_API_URL", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(book, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    text = "".join(output.get("text", "") for output in shown)
    assert "Traceback" not in text
    assert "cosmic: " not in text, "a command that is not there, or refuses"


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_notebook_is_committed_with_what_it_printed(book):
    cells = [cell for cell in nbformat.read(book, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert sum(bool(cell.outputs) for cell in cells) >= 5
