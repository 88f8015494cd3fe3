import json
import re
from dataclasses import replace

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from flows.cli.sweep_tables import show
from inference.errors import StoreError
from tasks.sweep_steps import publish_sweep
from tasks.sweeps.cells import cells_of
from tasks.sweeps.comparison import load_side
from tasks.sweeps.plots import plots_of
from tasks.sweeps.report import describe_sweep, measured_on, render_sweep
from tasks.sweeps.sweep import Sweep
from tasks.sweeps.tables import tables_of
from tests.support.swept import measured
from tests.tasks.run_results.test_report import Page

WHY = "ranks 3-4 are missing: <script>alert(1)</script> [red]"
SWEEP = Sweep.read(
    {
        "name": "batch-size",
        "description": "What it shows.",
        "request": {"bucket": "cosmicai-bench", "data_bucket": "cosmicai-bench"},
        "axes": {"batch_size": [32, 64], "partition_size": "50MB", "data_size": "1GB"},
        "repeats": 2,
    }
)


def runs(failed=False):
    found = measured(batch_size=[32, 64], repeats=2)
    return [replace(found[0], failed=WHY, document={}), *found[1:]] if failed else found


def page_of(found, plots=()):
    document = describe_sweep("batch-size", "What <i>it</i> shows.", found)
    tables = tables_of(cells_of(found)) if any(run.failed is None for run in found) else []
    return Page(render_sweep(document, tables, plots))


def test_the_page_has_recommendation_findings_tables_and_plots():
    page = page_of(runs(), plots_of(cells_of(runs()))[:2])
    assert page.headings == [
        "Recommended: batch 64",
        "Findings",
        "Execution time against batch size",
        "Ranks: how long, and on what",
        "Plots",
    ]
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert "2 cells, 4 runs" in page.text


def test_page_and_markdown_say_what_machine_it_was_measured_on():
    document = describe_sweep("batch-size", "", runs())
    machine = f"{document['machine']['cpu']}, {document['machine']['cores']} cores"
    assert f"Written on {machine}" in page_of(runs()).text
    assert f"4 runs of 2 cells, written {document['created']} on {machine}" in measured_on(document)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"batch_size": [32, 128], "noise": 0.003}, "Beyond the noise"),
        ({"batch_size": [119, 120], "noise": 0.1}, "A tie"),
        ({"batch_size": [32, 128], "repeats": 1}, "Not known"),
    ],
)
def test_the_page_says_how_sure_its_recommendation_is(axes, said):
    text = page_of(measured(**axes)).text
    assert text.index("Confidence") < text.index(said) < text.index("Findings")
    assert "Recommended: " not in text[text.index("Findings") :], "it is said once"


def test_the_page_needs_nothing_but_itself():
    page = page_of(runs(), plots_of(cells_of(runs())))
    assert not page.names() & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), tag


def test_failed_runs_are_named_with_their_reason_before_all_numbers():
    page = page_of(runs(failed=True))
    assert page.text.index("1 of 4 runs failed") < page.text.index("Findings")
    assert f"batch 32, run 1 : {WHY}" in page.text


def test_a_sweep_of_which_every_run_failed_has_a_page():
    page = page_of([replace(run, failed=WHY, document={}) for run in runs()])
    assert "4 of 4 runs failed" in page.text
    assert page.headings == ["Findings"]


def test_the_document_holds_every_run_and_names_the_failed():
    document = describe_sweep("batch-size", "", runs(failed=True))
    assert (document["cells"], document["runs"], len(document["measurements"])) == (2, 4, 4)
    assert [(run["axes"]["batch_size"], run["repeat"], run["error"]) for run in document["failed"]] == [(32, 1, WHY)]
    assert list(document["tables"]) == ["batch_size", "ranks"]
    json.dumps(document)


def test_the_terminal_shows_tables_findings_and_failures_letter_for_letter(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    show(describe_sweep("batch-size", "", runs(failed=True)) | {"report": "/x/report.html"})
    printed = capsys.readouterr().out
    assert "Execution time against batch size" in printed
    assert f"FAILED batch 32, run 1: {WHY}" in printed
    assert "report: /x/report.html" in printed


@pytest.mark.slow
class TestPublishing:
    @pytest.fixture
    def publish(self, prefect_api):
        @flow(name="publish a sweep in a test")
        def publish(sweep, found, root, results):
            return publish_sweep(sweep, found, root, results)

        return lambda *given: publish.with_options(validate_parameters=False)(*given)

    def test_everything_is_written_to_the_bucket_and_to_a_folder(self, publish, tmp_path):
        document = publish(SWEEP, runs(failed=True), str(tmp_path / "store"), str(tmp_path / "results"))
        folder = tmp_path / "store" / "cosmicai-bench" / "sweeps" / "batch-size"
        for place in (folder, tmp_path / "results"):
            names = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
            assert {"sweep.json", "report.html", "findings.md", "tables/batch_size.csv"} <= names
            assert {"tables/ranks.json", "plots/batch-size.svg", "plots/batch-size.png", "plots/pareto.png"} <= names
        assert document["report"] == str(folder / "report.html")
        assert json.loads((folder / "sweep.json").read_text()) == document
        assert [len(cell.runs) for cell in load_side(str(tmp_path / "results"), str(tmp_path)).cells] == [1, 2]
        markdown = (folder / "findings.md").read_text()
        assert "<script>" not in markdown
        assert "| Batch size |" in markdown

    def test_artifacts_keep_their_keys_from_night_to_night(self, publish, tmp_path):
        for _ in range(2):
            publish(SWEEP, runs(), str(tmp_path / "store"), None)
        with get_client(sync_client=True) as client:
            found = client.request("POST", "/artifacts/latest/filter", json={"limit": 200}).json()
        mine = {artifact["key"]: artifact for artifact in found if str(artifact["key"]).startswith("sweep-batch-size")}
        assert {"sweep-batch-size", "sweep-batch-size-batch-size", "sweep-batch-size-ranks"} <= set(mine)
        picture = mine["sweep-batch-size-plot-batch-size"]
        assert picture["type"] == "image"
        assert re.match(r"data:image/png;base64,\w", picture["data"])

    def test_a_folder_that_cannot_be_written_is_named(self, publish, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match=r"cannot write .*file/sweep\.json"):
            publish(SWEEP, runs(), str(tmp_path / "store"), str(tmp_path / "file"))
