import numpy as np
import pytest

from tasks.reproduction.page import markdown, render_reproduction, sections_of
from tasks.reproduction.scales import SCALES, sweeps_of
from tasks.sweeps.cells import Measurement
from tasks.sweeps.report import describe_sweep
from tests.support.swept import document_of

EXECUTION = {
    "initialize_s": 1.25,
    "map_s": 7.5,
    "summarize_s": 0.5,
    "seconds": 9.75,
    "state_transitions": 46,
    "item_seconds": (2.0, 3.0),
}


def document(axes, rng):
    """A run's document with all that the page asks for."""
    found = document_of(axes, rng)
    count = found["world_size"]
    found["cost"]["items"] = [{"name": "requests", "quantity": count, "usd": 2e-7 * count}]
    return found | ({"execution": EXECUTION} if axes["executor"] == "step-functions" else {})


@pytest.fixture(scope="module")
def sweeps():
    """Documents of the sweeps as if they had run, over less data than the scale has."""
    rng, found = np.random.default_rng(1), {}
    for name, sweep in sweeps_of(SCALES["report"], 2).items():
        measured = [
            Measurement(cell.axes, repeat, document(dict(cell.axes) | {"data_size": "0.25GB"}, rng))
            for repeat, cell in sweep.runs()
        ]
        found[name] = describe_sweep(sweep.name, sweep.description, measured)
    return found


@pytest.fixture(scope="module")
def sections(sweeps):
    return sections_of("report", sweeps)


def row_of(sections, name, **cells):
    (section,) = [section for section in sections if section.comparison.table.name == name]
    (row,) = [row for row in section.comparison.table.rows if all(row[key] == cells[key] for key in cells)]
    return row


def test_every_table_has_its_section_without_a_gap_in_ours(sections):
    assert [section.comparison.table.name for section in sections] == [
        "batch-size",
        "partition-size",
        "cost",
        "local-aws",
        "events",
    ]
    for section in sections[:4]:
        assert [row for row in section.comparison.table.rows if row["ours"] == "—"] == []
        assert section.failed == []
        assert section.comparison.how
        assert section.comparison.why


def test_printed_values_are_recomputed_as_the_docs_say(sections):
    batch = row_of(sections, "batch-size", setting="256", figure="throughput of a rank")
    assert (batch["printed"], batch["recomputed"]) == ("236.7 “Mbps”", "237.0 samples/s = 38.9 Mbit/s")
    rate = row_of(sections, "partition-size", setting="25 MB", figure="throughput")
    assert rate["recomputed"] == "3.86 Gbit/s over the map; sum of rates 17.68"
    bill = row_of(sections, "cost", setting="50 MB", figure="cost as AWS bills it")
    assert (bill["printed"], bill["recomputed"]) == ("—", "$0.441")
    formula = row_of(sections, "cost", setting="50 MB", figure="cost by the report's formula")
    assert (formula["printed"], formula["recomputed"], formula["ours"][0]) == ("$43.23", "$43.23", "$")
    local = row_of(sections, "local-aws", setting="local", figure="throughput")
    assert (local["printed"], local["recomputed"]) == ("162 Mbps", "19.9 Mbit/s")


def test_events_are_those_of_the_execution(sections):
    assert row_of(sections, "events", figure="map")["ours"] == "7.50 s"
    assert row_of(sections, "events", figure="duration")["ours"] == "2.50 s"


def test_small_scale_names_its_own_partition_size_beside_the_reports():
    rows = sections_of("small", {})[1].comparison.table.rows
    assert rows[0]["setting"] == "25 MB, ours 2.5 MB"


def test_page_shows_all_three_figures_and_runs_no_script(sweeps, sections):
    page = render_reproduction({"scale": "report", "elapsed_s": 754.0, "sweeps": sweeps}, sections)
    assert "<script" not in page
    assert page.count("<svg") == 6
    for expected in ("12 min 34 s", "Why they differ", "AI-for-Astronomy", "$43.23", "emulator"):
        assert expected in page
    assert "| 512 | time a batch | 2.19 s | 2.34 s at 25 MB and 2.22 s at 50 MB |" in markdown(sections)


def test_a_run_that_failed_and_a_sweep_that_did_not_run_are_reported(sweeps):
    failed = [{"axes": {}, "repeat": 2, "error": "rank 3 <failed>"}]
    partial = {"batch-size": sweeps["batch-size"] | {"failed": failed}}
    page = render_reproduction({"scale": "report", "elapsed_s": 1.0, "sweeps": partial}, sections_of("report", partial))
    assert "rank 3 &lt;failed&gt;" in page
    assert page.count("it did not run") == 4
