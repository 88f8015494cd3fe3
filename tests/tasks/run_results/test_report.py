import html
import re
import shutil
import subprocess
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from tasks.billing.cost import METHODS
from tasks.reporting.formatting import DASH
from tasks.run_results.report import Pictures, render_report, report_markdown
from tests.support.reported_run import costs_of, predictions_of, ranks_of, summary_of

HOSTILE = "100MB/<script>alert(1)</script>.pt"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A parsed page: its tags, its text, and the rows of its tables."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.open, self.rows, self.headings, self.words = [], [], [], [], []
        self.feed(document)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data.strip())
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data

    def names(self):
        return {tag for tag, _ in self.tags}


def page_of(ranks, predictions=None, planned=None, billed_how="measured here, an estimate", drawn=False, **changes):
    """The page, by default without its pictures, which most tests do not look at."""
    summary, pictures = summary_of(ranks, planned, **changes), None if drawn else Pictures([], [])
    return Page(render_report(summary, ranks, predictions, costs_of(ranks, billed_how), pictures=pictures))


def markdown_of(ranks, planned=None, **changes):
    return report_markdown(summary_of(ranks, planned, **changes), ranks, costs_of(ranks))


def shown_by(markdown):
    """The text of every cell and line that a reader of the Markdown sees, and whether any HTML is in it."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    inline = [token for token in tokens if token.type == "inline"]
    kinds = {token.type for token in tokens} | {child.type for token in inline for child in token.children}
    return ["".join(child.content for child in token.children) for token in inline], kinds


def ranks_in(page):
    return [int(row[0]) for row in page.rows if row[0].isdigit()]


@pytest.fixture(scope="module")
def whole():
    ranks = ranks_of(41)
    return page_of(ranks, predictions_of(2000), drawn=True, notes=["file_limit is beyond the files"])


class TestAWholeRun:
    def test_the_headline_comes_first_and_says_how_each_number_was_obtained(self, whole):
        headline = whole.text[: whole.text.index("Predicted against")]
        assert "Redshifts predicted 209,633 by 41 of 41 ranks" in headline
        assert re.search(r"Makespan \d+\.\d s first rank's start to last rank's end", headline)
        assert re.search(r"Samples per second [\d,]+ by the wall clock", headline)
        assert re.search(r"Cost \$0\.0\d+ on AWS Lambda, method billed; an estimate", headline)
        assert "NMAD 0.0115 scatter of" in headline
        assert "INCOMPLETE" not in whole.text

    def test_the_page_needs_nothing_but_itself(self, whole):
        assert not whole.names() & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        for tag, attributes in whole.tags:
            assert not any(name.startswith("on") for name in attributes), tag
            for name in ("src", "href", "xlink:href", "action"):
                assert attributes.get(name, "#").startswith(("#", "data:")), tag

    def test_its_parts_come_in_order(self, whole):
        headings = ["Redshifts", "What ran", "Ranks", "The bill", "Notes", "Where this may be believed"]
        assert whole.headings == headings
        assert "file_limit is beyond the files" in whole.text

    def test_it_shows_every_rank_of_a_short_table(self, whole):
        assert ranks_in(whole) == list(range(41))

    def test_it_draws_five_figures_that_share_no_id(self, whole):
        assert sum(tag == "svg" for tag, _ in whole.tags) == 5
        ids = [attributes["id"] for _, attributes in whole.tags if "id" in attributes]
        assert len(ids) == len(set(ids))

    def test_the_bill_is_itemized_and_marked_beside_the_other_methods(self, whole):
        bill = whole.text[whole.text.index("The bill") :]
        assert bill.startswith("The bill an estimate")
        assert {"compute", "requests", "storage above 512 MB", "S3 GET"} <= {row[0] for row in whole.rows}
        total = costs_of(ranks_of(41))[0].usd
        assert ["Total, billed", f"${total:.4f}"] in whole.rows
        assert "Prices of 2" in bill
        for method in METHODS[1:]:
            assert f"{method} an estimate $" in bill
        assert "It counts the invocations twice" in bill

    def test_the_sum_of_rates_is_named_and_cold_is_apart_from_warm(self, whole):
        assert re.search(r"Sum of the ranks' own rates \S+ [kMG]?bit/s .*no speed of the run", whole.text)
        assert "median wall time of 33 ranks" in whole.text
        assert "median wall time of 8 ranks that first loaded the engine" in whole.text

    def test_it_names_the_model_and_shows_the_request(self, whole):
        assert "ab" * 32 in whole.text
        assert '"batch_size": 512' in whole.text


def test_a_bill_of_reported_times_is_not_marked_as_an_estimate():
    page = page_of(ranks_of(2), billed_how="REPORT line")
    assert "estimate" not in page.text.lower()


@pytest.mark.parametrize(("count", "shown"), [(60, 60), (61, 40), (1200, 40)])
def test_a_long_table_shows_the_slowest_and_the_first_ranks_and_says_so(count, shown):
    ranks = ranks_of(count)
    page = page_of(ranks)
    assert len(ranks_in(page)) == shown
    assert ("has all" in page.text) == ("The slowest 20" in page.text) == (count > 60)
    if count > 60:
        slowest = ranks.sort_values("wall_total_s", ascending=False)["rank"].head(20)
        assert ranks_in(page) == [*slowest, *range(20)]


def test_a_page_of_many_ranks_takes_little_memory_for_those_not_shown():
    count = 20_000
    ranks = pd.concat([ranks_of(200)] * (count // 200), ignore_index=True).assign(rank=range(count))
    summary, bill, undrawn = summary_of(ranks), costs_of(ranks_of(10)), Pictures([], [])
    render_report(summary, ranks.head(100), None, bill, pictures=undrawn)  # the template is read once
    tracemalloc.start()
    try:
        render_report(summary, ranks, None, bill, pictures=undrawn)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1000 * count, f"{most / count:.0f} bytes a rank"


class TestAnIncompleteRun:
    GONE = (3, 17, 18, 30)
    FAILED = (
        {"rank": 3, "error": "100MB/4.pt is truncated", "data_path": ["100MB/4.pt"]},
        {"rank": 17, "error": "killed by SIGKILL", "data_path": "100MB/18.pt"},
        {"rank": 18, "error": "killed by SIGKILL", "data_path": ["100MB/19.pt"]},
    )

    def page(self, **changes):
        ranks = ranks_of(41).query("rank not in @self.GONE")
        return page_of(ranks, None, 41, missing_ranks=list(self.GONE), failed_ranks=list(self.FAILED), **changes)

    def test_a_banner_before_all_numbers_groups_the_missing_ranks_by_cause(self):
        text = self.page().text
        banner = text[text.index("INCOMPLETE: 4 of 41 ranks are missing") : text.index("Redshifts predicted")]
        assert "Rank 3 : 100MB/4.pt is truncated Partitions: 100MB/4.pt" in banner
        assert "Ranks 17-18 : killed by SIGKILL Partitions: 100MB/18.pt, 100MB/19.pt" in banner
        assert "Rank 30 : there is no result, and no error is known" in banner

    def test_report_lists_missing_ranks_as_rows_before_the_others(self):
        rows = [row for row in self.page().rows if row[0].isdigit()]
        assert [(int(row[0]), row[1]) for row in rows[:5]] == [*((rank, "failed") for rank in self.GONE), (0, "cold")]
        assert rows[0][2] == "100MB/4.pt"
        assert len(rows) == 41

    def test_markdown_says_so_too(self):
        ranks = ranks_of(41).query("rank not in @self.GONE")
        text = markdown_of(ranks, 41, missing_ranks=list(self.GONE), failed_ranks=list(self.FAILED))
        shown, _ = shown_by(text)
        assert shown.index("INCOMPLETE: 4 of 41 ranks are missing") < shown.index("Redshifts predicted")
        assert {"Ranks 17-18", "killed by SIGKILL", "100MB/18.pt, 100MB/19.pt"} <= set(shown)

    def test_a_single_missing_rank_is_no_plural(self):
        page = page_of(ranks_of(1), None, 2, missing_ranks=[1])
        assert "INCOMPLETE: 1 of 2 ranks is missing" in page.text

    def test_a_long_list_of_partitions_is_cut_and_counted(self):
        failed = [{"rank": rank, "error": "away", "data_path": [f"p/{rank}.pt"]} for rank in range(1, 900)]
        page = page_of(ranks_of(1), None, 900, missing_ranks=list(range(1, 900)), failed_ranks=failed)
        assert "Ranks 1-899 : away" in page.text
        assert "p/5.pt and 894 more" in page.text

    def test_failed_ranks_that_are_not_missing_leave_a_run_complete(self):
        failed = [{"rank": 0, "error": "away", "data_path": "p/1.pt"}]
        page = page_of(ranks_of(2), None, 2, failed_ranks=failed)
        assert "1 of 2 ranks failed" in page.text
        assert "INCOMPLETE" not in page.text

    def test_a_run_of_which_nothing_is_done_has_a_report(self):
        ranks = ranks_of(1).iloc[:0]
        failed = [{"rank": 0, "error": "away", "data_path": "p/1.pt"}]
        page = page_of(ranks, None, 1, drawn=True, missing_ranks=[0], failed_ranks=failed, metrics=None)
        assert "INCOMPLETE: 1 of 1 rank is missing" in page.text
        assert "No rank is done" in page.text
        assert DASH in page.text
        assert "svg" not in page.names()
        assert DASH in report_markdown(summary_of(ranks, 1, metrics=None), ranks, costs_of(ranks))


class TestHostileText:
    CHANGES = {  # noqa: RUF012 - only read
        "run_id": "<b>run</b>",
        "store": "`store` | <i>",
        "notes": ["<img src=x onerror=alert(1)> | a `b` [c](javascript:d)", "- # | ---"],
        "model": {"key": "</style><script>", "sha256": "&lt;"},
        "request": {"data_prefix": "</pre><script>alert(2)</script>"},
        "result_path": "cosmicai-test/results/<u>*_x_*",
        "missing_ranks": [2],
        "failed_ranks": [{"rank": 2, "error": "cannot read\n| `it`\n# <script>", "data_path": [HOSTILE]}],
    }

    def ranks(self):
        ranks = ranks_of(2)
        ranks.loc[0, "data_path"] = HOSTILE
        ranks.loc[0, "worker"] = "<img src=y>"
        return ranks

    def test_is_shown_as_it_is_in_html(self):
        page = page_of(self.ranks(), predictions_of(50), 3, drawn=True, **self.CHANGES)
        assert not page.names() & {"script", "img", "b", "i", "u"}
        assert page.text.count(HOSTILE) == 3, "in the banner and in two rows of the table"
        for text in ("<b>run</b>", "<img src=x onerror=alert(1)>", "</style><script>", "</pre><script>alert(2)"):
            assert text in page.text

    def test_is_shown_as_it_is_in_markdown(self):
        shown, kinds = shown_by(markdown_of(self.ranks(), 3, **self.CHANGES))
        assert not kinds & {"html_inline", "html_block", "link_open", "image", "code_inline", "em_open", "hr"}
        assert HOSTILE in shown
        assert "cannot read | `it` # <script>" in shown
        assert "cosmicai-test/results/<u>*_x_*" in shown
        assert {"<img src=x onerror=alert(1)> | a `b` [c](javascript:d)", "- # | ---"} <= set(shown)


class TestWhatIsNotKnown:
    def test_is_a_dash(self):
        ranks = ranks_of(2)
        ranks.loc[0, "cpu_total_s"] = np.nan
        page = page_of(ranks, None, drawn=True, samples_per_s=None, throughput_bps=float("nan"), metrics=None)
        assert "nan" not in page.text.lower()
        assert "None" not in page.text
        assert f"Samples per second {DASH}" in page.text
        assert f"Throughput {DASH}" in page.text
        assert f"NMAD {DASH} no spectroscopic redshifts to compare with" in page.text
        assert next(row for row in page.rows if row[0] == "0").count(DASH) == 1

    def test_a_run_without_spectroscopic_redshifts_has_no_density_but_says_why(self):
        predictions = predictions_of(10).assign(z_spec=np.nan)
        page = page_of(ranks_of(3), predictions, drawn=True, metrics=None)
        assert "No spectroscopic redshifts are known" in page.text
        assert sum(tag == "svg" for tag, _ in page.tags) == 3  # N(z) of the predictions is among them
        assert "how many have it" not in page.text

    def test_a_metric_that_is_none_is_a_dash(self):
        page = page_of(ranks_of(1), metrics={"nmad": 0.1, "r2": None})
        assert f"R² {DASH}" in page.text
        assert "No spectroscopic" not in page.text

    def test_billed_seconds_have_a_column_only_where_they_are_known(self):
        ranks = ranks_of(2)
        assert "Billed s" not in page_of(ranks).text
        assert "Billed s" in page_of(ranks.assign(billed_s=2.0)).text


def test_ranks_of_an_earlier_run_are_told_apart():
    ranks = ranks_of(10)
    ranks.loc[:3, "resumed"] = True
    page = page_of(ranks, drawn=True, ranks_resumed=4)
    assert "10 of 10 ranks, 4 of them done before this run" in page.text
    assert "Not shown: 4 ranks that an earlier run had done." in page.text
    assert [row[1] for row in page.rows if row[0] in {"3", "4"}] == ["earlier", "cold"]


def test_objects_out_of_domain_are_counted_with_the_metrics():
    page = page_of(ranks_of(41), predictions_of(2000), out_of_domain=30, objects=2000)
    assert "Out of domain 30 1.50% of all objects, unlike the training's galaxies" in page.text
    assert "Out of domain" not in page_of(ranks_of(41), predictions_of(2000), out_of_domain=None).text


def test_the_markdown_holds_the_headline_the_metrics_and_the_bill():
    shown, _ = shown_by(markdown_of(ranks_of(41)))
    assert {"Redshifts predicted", "209,633", "NMAD", "0.0115", "compute", "used-memory"} <= set(shown)
    assert "total, billed, an estimate" in shown


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium") or pytest.skip("there is no chromium to open the page in")
    return [
        program,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--dump-dom"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1600])
@pytest.mark.parametrize("kind", ["whole", "incomplete", "hostile"])
def test_the_page_never_scrolls_sideways(chromium, tmp_path, width, kind):
    ranks = ranks_of(70)
    changes = {"notes": ["n" * 400]}
    if kind != "whole":
        error = "cannot read " + "x" * 500
        changes |= {"missing_ranks": [70], "failed_ranks": [{"rank": 70, "error": error, "data_path": "y" * 900}]}
    if kind == "hostile":
        ranks["data_path"] = "z" * 1000
        ranks["worker"] = "w" * 200
        changes |= {"result_path": "r" * 300, "store": "s" * 300, "run_id": "i" * 200, "engine": "e" * 99}
    document = render_report(summary_of(ranks, 71, **changes), ranks, predictions_of(2000), costs_of(ranks))
    frame = f'<iframe srcdoc="{html.escape(document)}" style="border:0;width:{width}px;height:900px"></iframe>'
    measure = (
        "<script>onload = () => { const page = document.querySelector('iframe').contentDocument.documentElement;"
        " document.body.innerHTML = `<p>${page.clientWidth} ${page.scrollWidth}</p>`; }</script>"
    )
    path = tmp_path / "frame.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{frame}{measure}", encoding="utf-8")
    command = [*chromium, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1700,1000", path.as_uri()]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    inner, needed = map(int, re.search(r"<p>(\d+) (\d+)</p>", printed).groups())
    assert width - 20 <= inner <= width
    assert needed <= inner
