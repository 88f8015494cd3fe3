import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.billing.cost import LOG_BYTES, MEANINGS, METHODS, compute_cost
from tasks.billing.express import Express
from tasks.billing.price_book import load_price_book
from tasks.invocations.invocation import EMULATED, Invocation

# partition size in MB: invocations, total duration in s, used memory in GB, USD as printed (contract, fault 9)
PRINTED = {
    25: (491, 3633.4, 2.8, 83.27),
    50: (245, 2646.0, 4.0, 43.2266),
    75: (163, 3227.4, 5.9, 51.7402),
    100: (122, 4074.8, 7.0, 58.0096),
}
CALL = Invocation(
    rank=0,
    attempt=1,
    started_at=0.0,
    ended_at=2.0,
    duration_s=2.0,
    init_s=0.0,
    billed_s=2.0,
    billed_how="REPORT line",
    memory_mb=2048,
    max_memory_mb=1024.0,
    cold=False,
    request_id="r",
    worker="w",
)


def calls(count, seconds, used_gb):
    """Invocations of a 10 GB function that add up to so many seconds."""
    one = dataclasses.replace(CALL, billed_s=seconds / count, memory_mb=10_240, max_memory_mb=used_gb * 1024)
    return [one] * count


def item(cost, name):
    return next(item for item in cost.items if item.name == name)


@pytest.mark.parametrize("size", PRINTED)
def test_the_old_formula_gives_every_row_of_the_printed_table_to_the_cent(size):
    count, seconds, used_gb, printed = PRINTED[size]
    cost = compute_cost(calls(count, seconds, used_gb), method="as-printed")
    assert cost.usd == pytest.approx(printed, abs=0.005)


def test_cost_of_the_printed_43_dollars_is_18_or_44_cents():
    invocations = calls(*PRINTED[50][:3])
    assert compute_cost(invocations, method="used-memory").usd == pytest.approx(0.18, abs=0.005)
    assert compute_cost(invocations, method="billed").usd == pytest.approx(0.44, abs=0.005)


def test_cost_adds_up_memory_requests_storage_s3_and_transitions():
    cost = compute_cost(
        [CALL, CALL],
        ephemeral_mb=512 + 1024,
        state_transitions=1000,
        s3_puts=2000,
        s3_gets=10_000,
        architecture="arm64",
    )
    assert item(cost, "compute").quantity == 2 * 2.0 * 2
    assert item(cost, "compute").usd == pytest.approx(8 * 0.0000133334)
    assert item(cost, "requests").usd == pytest.approx(2 * 0.20e-6)
    assert item(cost, "storage above 512 MB").usd == pytest.approx(1.0 * 4 * 0.0000000309)
    assert item(cost, "S3 PUT and LIST").usd == pytest.approx(0.010)
    assert item(cost, "S3 GET").usd == pytest.approx(0.004)
    assert item(cost, "state transitions").usd == pytest.approx(0.025)
    assert cost.usd == pytest.approx(sum(item.usd for item in cost.items))


def test_a_failed_invocation_is_billed_like_any_other():
    failed = dataclasses.replace(CALL, error="it died")
    assert compute_cost([CALL, failed]).usd == pytest.approx(2 * compute_cost([CALL]).usd)


def test_storage_up_to_512_mb_costs_nothing():
    assert item(compute_cost([CALL], ephemeral_mb=128), "storage above 512 MB").usd == 0


def test_compute_beyond_a_tier_is_charged_at_the_next_tiers_price():
    month = dataclasses.replace(CALL, billed_s=8e9, memory_mb=2048)
    cost = compute_cost([month])
    assert item(cost, "compute").usd == pytest.approx(6e9 * 0.0000166667)
    assert item(cost, "compute above 6 billion GB-s").usd == pytest.approx(9e9 * 0.000015)
    assert item(cost, "compute above 15 billion GB-s").usd == pytest.approx(1e9 * 0.0000133334)


@pytest.mark.parametrize("method", METHODS)
def test_no_invocations_cost_nothing_and_the_items_are_still_there(method):
    cost = compute_cost([], method=method)
    assert cost.usd == 0
    assert cost.items
    assert not cost.estimate


@pytest.mark.parametrize("method", METHODS)
def test_cost_is_an_estimate_once_aws_did_not_report_a_duration(method):
    ours = dataclasses.replace(CALL, billed_how="measured here, an estimate")
    assert not compute_cost([CALL, CALL], method=method).estimate
    assert compute_cost([CALL, ours], method=method).estimate
    assert "measured here" in compute_cost([CALL, ours], method=method).how


def test_a_bill_says_whose_prices_it_uses():
    how = compute_cost([CALL], region="eu-central-1", architecture="arm64").how
    assert str(load_price_book().as_of) in how
    assert "eu-central-1 arm64" in how
    assert how.count(".") == 1


def test_cost_by_used_memory_counts_the_calls_whose_memory_is_unknown():
    silent = dataclasses.replace(CALL, max_memory_mb=0.0)
    assert "not known of 1" in compute_cost([CALL, silent], method="used-memory").how
    assert "not known" not in compute_cost([CALL, silent], method="billed").how
    assert item(compute_cost([CALL, silent], method="as-printed"), "invocations x total duration x used memory")


def test_a_bill_becomes_json():
    document = json.loads(json.dumps(compute_cost([CALL]).to_dict(), allow_nan=False))
    assert document.keys() == {"method", "usd", "items", "estimate", "emulated", "label", "how"}
    assert document["items"][0].keys() == {"name", "quantity", "unit", "unit_usd", "usd", "how"}


def test_every_method_says_what_it_means():
    assert MEANINGS.keys() == set(METHODS)


def test_cost_method_that_is_unknown_is_refused_with_those_there_are():
    with pytest.raises(BadInput, match=r"billed, used-memory, as-printed, not 'free'"):
        compute_cost([CALL], method="free")


@pytest.mark.parametrize(("region", "architecture"), [("mars-1", "x86_64"), ("ap-northeast-1", "arm64")])
def test_cost_without_a_known_price_keeps_quantities_and_says_so(region, architecture):
    cost = compute_cost([CALL], region=region, architecture=architecture)
    compute = item(cost, "compute")
    assert (cost.usd, compute.usd, compute.unit_usd, compute.quantity) == (None, None, None, 4.0)
    assert f"No price known for {region} {architecture}" in cost.how
    assert cost.headline == "no price known, billed"
    assert json.loads(json.dumps(cost.to_dict()))["usd"] is None


def test_cost_of_emulated_calls_is_marked_everywhere():
    emulated = dataclasses.replace(CALL, billed_how=EMULATED)
    cost = compute_cost([emulated, emulated])
    assert (cost.emulated, cost.estimate) == (True, True)
    assert cost.headline.endswith("billed, emulated, an estimate")
    assert "as the emulator reported it for 2 of 2, not AWS" in cost.how
    assert cost.to_dict()["label"] == "emulated, an estimate"


@given(
    seconds=st.lists(st.floats(0, 900), max_size=20),
    memory=st.integers(128, 10_240),
    architecture=st.sampled_from(["x86_64", "arm64"]),
)
def test_what_was_used_never_costs_more_than_what_was_allocated(seconds, memory, architecture):
    invocations = [dataclasses.replace(CALL, billed_s=s, memory_mb=memory, max_memory_mb=memory / 2) for s in seconds]
    used = compute_cost(invocations, method="used-memory", architecture=architecture)
    billed = compute_cost(invocations, method="billed", architecture=architecture)
    assert 0 <= used.usd <= billed.usd


def test_a_duration_counts_in_whole_milliseconds_rounded_up():
    cost = compute_cost([dataclasses.replace(CALL, billed_s=1.0001)])
    assert item(cost, "compute").quantity == pytest.approx(2 * 1.001, abs=1e-12)


def test_express_executions_and_logs_are_on_the_bill_as_estimates():
    cost = compute_cost([CALL] * 1000, express=Express(1000, 125.0, "estimate: so many"))
    assert item(cost, "EXPRESS requests").usd == pytest.approx(0.001)
    assert item(cost, "EXPRESS duration").usd == pytest.approx(125 * 0.00001667)
    assert item(cost, "EXPRESS duration").how == "estimate: so many"
    assert item(cost, "log ingestion").usd == pytest.approx(1000 * LOG_BYTES / 2**30 * 0.50)
    assert item(cost, "log ingestion").how.startswith("estimate")


def test_cost_line_without_a_price_is_left_out_of_the_total_and_named():
    cost = compute_cost([CALL], region="eu-central-1", express=Express(5, 1.0))
    line = item(cost, "EXPRESS requests")
    assert (line.quantity, line.usd) == (5, None)
    assert "no price known" in line.how
    assert "the total lacks EXPRESS requests, EXPRESS duration" in cost.how


def test_free_tier_is_taken_off_when_asked_and_never_below_nothing():
    month = [dataclasses.replace(CALL, billed_s=250.0)] * 1000  # 500,000 GB-s
    full, free = (compute_cost(month, state_transitions=5000, free_tier=asked) for asked in (False, True))
    assert item(full, "compute").quantity - item(free, "compute").quantity == 400_000
    assert item(free, "requests").quantity == 0
    assert item(free, "state transitions").quantity == 1000
    assert item(free, "log ingestion").usd == 0
    assert "no free tier" in full.how
    assert "an untouched free tier" in free.how
    with pytest.raises(BadInput, match="free tier has no meaning"):
        compute_cost(month, method="as-printed", free_tier=True)


def test_the_memory_behind_a_bill_is_named():
    assert "allocated memory (2,048 MB)" in compute_cost([CALL]).how
    other = dataclasses.replace(CALL, memory_mb=10_240)
    assert "allocated memory (2,048 MB and 10,240 MB)" in compute_cost([CALL, other]).how


def test_the_page_about_the_bill_has_the_figures_that_the_formulas_give():
    page = (Path(__file__).parents[3] / "docs" / "cost.md").read_text()
    for size, (count, seconds, used_gb, printed) in PRINTED.items():
        invocations = calls(count, seconds, used_gb)
        found = [compute_cost(invocations, method=method).usd for method in ("as-printed", "used-memory", "billed")]
        row = [f"{size} MB", f"{count}", f"{seconds:,.1f} s", f"{used_gb} GB", f"${printed:.2f}"]
        assert "| " + " | ".join(row + [f"${usd:.2f}" for usd in found]) + " |" in page
