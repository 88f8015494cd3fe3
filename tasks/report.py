"""publish_report: the report of a run as a step.

Text from a request, a bucket or an error message is not trusted: the template escapes all of it, `display.plain`
does so for Markdown.
"""

import json
import time
from typing import Any

from inference.contract.run_request import RunRequest
from inference.rank_results.publish_summary import publish_summary
from inference.runs.begin import Start
from inference.storage.lease import HeldLease
from inference.storage.store import Store
from inference.storage.temporary import temporary_folder
from tasks.billing.cost import Cost
from tasks.invocations.journal import forget_calls
from tasks.prefect_support.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.page_links import page_url, publish_link
from tasks.prefect_support.step import making_step
from tasks.reporting.figures import as_image
from tasks.reporting.formatting import file_size, plain
from tasks.run_results.expected import expected_stats
from tasks.run_results.report import pictures_of, render_report, report_markdown
from tasks.run_results.summary import Summary
from tasks.run_results.worst_objects import worst_cutouts

_ROW = (
    *("rank", "data_path", "samples", "attempt", "started_at", "ended_at", "cold", "worker", "resumed"),
    *("wall_total_s", "wall_load_s", "wall_read_s", "wall_compute_s", "wall_write_s", "cpu_total_s"),
    *("samples_per_s", "peak_rss_mb", "billed_s"),
)


@making_step("publish report")
def publish_report(
    request: RunRequest,
    start: Start,
    held: HeldLease,
    summary: Summary,
    costs: list[Cost],
    billed: dict[int, float],
    store_root: str,
    began: float,
) -> dict[str, Any]:
    """Write report.html and summary.json, make the run's summaries the ones that count, publish the report.

    Args:
        request: the checked request.
        start: how the run started.
        held: the run's lease on its result path.
        summary: of the run.
        costs: the bill by every method, the headline first.
        billed: seconds billed for each rank.
        store_root: root of the store.
        began: when the run began, seconds since the epoch; the run's end is when the report is made.

    Returns:
        The run's document, as `cosmic run --json` prints it.

    Raises:
        LeaseHeldError: another run took the result path over; what counts is that run's.
        StoreError: the store cannot be written.
    """
    store = Store(store_root)
    key = f"{request.result_path}/report.html"
    path = store.local_path(request.bucket, key)
    where = str(path) if path is not None else f"s3://{request.bucket}/{key}"
    ranks = summary.ranks.assign(billed_s=summary.ranks["rank"].map(billed))
    document = summary.document | {
        "cost": costs[0].to_dict(),
        "costs": {cost.method: cost.usd for cost in costs},
        "report": where,
        "end_to_end_s": time.time() - began,
    }
    pictures = pictures_of(document, ranks, summary.predictions, summary.calibration)
    worst = worst_cutouts(store, request.data_bucket, document["worst_objects"])
    pictures = pictures._replace(of_the_worst=worst)
    page = render_report(document, ranks, summary.predictions, costs, summary.calibration, pictures)
    sizes = {"report.html": len(page.encode())}
    store.write(request.bucket, f"{start.folder}/report.html", page.encode())
    document["ranks"] = ranks[[*_ROW]].to_dict("records")  # after the drawing, which takes as much as they do
    with temporary_folder("summary") as scratch:
        with (scratch / "summary.json").open("w") as file:  # as text at once it would take ten times its size
            json.dump(document, file, indent=1)
        sizes["summary.json"] = (scratch / "summary.json").stat().st_size
        store.write(request.bucket, f"{start.folder}/summary.json", scratch / "summary.json")
    publish_summary(held, request.result_path)
    forget_calls(Store(store_root), request.bucket, start.folder)
    create_markdown_artifact(report_markdown(document, ranks, costs), key="cosmic-report", description="the report")
    for name, picture in pictures.for_artifacts().items():
        create_image_artifact(as_image(picture.svg), key=name, description=plain(picture.caption))
    if expected := expected_stats(document):
        create_table_artifact(
            [{"figure": stat.label, "actual": stat.value, "expected": stat.how} for stat in expected],
            key="cosmic-expected",
            description=f"expected against actual ({plain(document['prediction']['source'])})",
        )
    url = page_url(store, request.bucket, key)
    publish_link(url, "cosmic-report-page", plain(document["result_path"]), "the report as a page")
    did(f"{' and '.join(sizes)} written, {file_size(sum(sizes.values()))}")
    return document
