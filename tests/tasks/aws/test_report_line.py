import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.aws.report_line import Report, parse_report, report_in

COLD = (
    "2026-11-17 02:41:24.412000+00:00 - REPORT RequestId: 0a1b2c3d-aa3a-4fd6-b4e7-5e7b46ae71f1"
    "       Duration: 40250.00 ms   Billed Duration: 40908 ms       Memory Size: 10240 MB"
    "      Max Memory Used: 5948 MB        Init Duration: 500.00 ms"
)
WARM = COLD.split("        Init")[0]
EXPECTED = Report(
    request_id="0a1b2c3d-aa3a-4fd6-b4e7-5e7b46ae71f1",
    duration_s=40.25,
    billed_s=40.908,
    memory_mb=10_240,
    max_memory_mb=5948,
    init_s=0.5,
)


def test_a_cold_start_has_its_init_duration_and_a_warm_one_none():
    assert parse_report(COLD) == EXPECTED
    assert parse_report(WARM).init_s == 0.0


@pytest.mark.parametrize("between", ["\t", " ", "    ", "\t \t"])
def test_whatever_stands_between_the_fields_is_no_matter(between):
    fields = ["Duration: 2.5 ms", "Billed Duration: 3 ms", "Memory Size: 128 MB", "Max Memory Used: 34 MB"]
    report = parse_report("REPORT RequestId: abc" + between + between.join(fields))
    assert (report.duration_s, report.billed_s, report.memory_mb) == (0.0025, 0.003, 128)


def test_fields_of_a_later_time_are_no_matter():
    assert parse_report(COLD + "\tStatus: timeout\nXRAY TraceId: 1-2 SegmentId: 3 Sampled: true") == EXPECTED


def test_of_several_the_last_whole_one_counts():
    assert (
        parse_report(COLD.replace("0a1b", "ffff") + "\n" + COLD + "\nREPORT RequestId: cut Duration: 1 ms") == EXPECTED
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "START RequestId: x",
        "REPORT RequestId: x",
        WARM.replace("Billed Duration", "Bill"),
        WARM.replace("40908 ms", "many ms"),
        WARM.replace("40908 ms", "40908 MB"),
        WARM.replace("40908", "-1"),
    ],
)
def test_a_line_that_is_not_whole_is_none(text):
    assert parse_report(text) is None


@given(st.text() | st.text().map(lambda text: COLD[:40] + text))
def test_no_text_breaks_it(text):
    parse_report(text)


def test_a_very_long_line_takes_no_time():
    assert parse_report("REPORT RequestId: x " + "Duration: 1" * 200_000) is None


def test_a_tail_that_is_damaged_tells_nothing_and_loses_nothing_else():
    assert report_in(base64.b64encode(COLD.encode()).decode()) == EXPECTED
    assert report_in("") is report_in("a") is report_in("é") is report_in("====") is None


@given(st.text())
def test_no_tail_breaks_it(tail):
    report_in(tail)
