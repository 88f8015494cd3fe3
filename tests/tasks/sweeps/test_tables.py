import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from tasks.reporting.formatting import DASH
from tasks.reporting.table import Column, Table
from tasks.reporting.terminal_table import print_table
from tasks.sweeps.cells import cells_of
from tasks.sweeps.tables import tables_of
from tests.support.swept import SWEEPS, measured


def tables(**axes):
    return {table.name: table for table in tables_of(cells_of(measured(**axes)))}


@pytest.mark.parametrize(
    ("sweep", "names"),
    [
        ("batch", ["batch_size", "ranks"]),
        ("smoke", ["batch_size", "partition_size", "data_size", "ranks"]),
        ("executors", ["cells", "executor", "ranks"]),
        ("memory", ["memory_mb", "ranks"]),
        ("single", ["cells", "ranks"]),
    ],
)
def test_there_is_a_table_for_every_axis_that_varies_and_one_of_the_ranks(sweep, names):
    assert list(tables(**SWEEPS[sweep])) == names


def test_execution_time_stands_against_batch_size():
    table = tables(batch_size=[512, 32])["batch_size"]
    assert [row["batch_size"] for row in table.rows] == [32, 512]
    keys = {column.key for column in table.columns}
    assert {"makespan_s", "batch_s", "samples_per_s", "mbit_per_s", "peak_memory_mb"} <= keys
    assert "1.5 interquartile ranges" in table.caption


def test_the_partition_size_table_has_time_memory_ranks_and_cost():
    table = tables(**SWEEPS["partition"])["partition_size"]
    assert [(row["partition_size"], row["concurrent_ranks"]) for row in table.rows] == [
        ("25MB", 41),
        ("50MB", 21),
        ("75MB", 14),
        ("100MB", 11),
    ]
    assert {"makespan_s", "samples_per_s", "mbit_per_s", "peak_memory_mb", "usd"} <= set(table.rows[0])


def test_cost_stands_against_data_size_by_partition_size():
    table = tables(data_size=["1GB", "2GB"], partition_size=["25MB", "50MB"])["data_size"]
    assert [(row["data_size"], row["partition_size"]) for row in table.rows] == [
        ("1GB", "25MB"),
        ("1GB", "50MB"),
        ("2GB", "25MB"),
        ("2GB", "50MB"),
    ]
    assert table.rows[2]["usd"] > table.rows[0]["usd"]


def test_local_and_aws_stand_side_by_side_with_the_ratio_and_a_note():
    table = tables(**SWEEPS["executors"])["executor"]
    rows = {row["metric"]: row for row in table.rows}
    bits, samples = rows["Throughput, Mbit/s"], rows["Throughput, samples/s"]
    assert bits["lambda_ratio"] == pytest.approx(samples["lambda_ratio"]), "one and the same figure in two units"
    assert bits["local"] * 1e6 == pytest.approx(164_160 * samples["local"])
    assert rows["Makespan, s"]["lambda_ratio"] == pytest.approx(
        rows["Makespan, s"]["lambda"] / rows["Makespan, s"]["local"], rel=0.02
    )
    assert "would have cost on AWS Lambda" in rows["Cost, USD"]["note"]
    assert "lambda : local" in [column.title for column in table.columns]


def test_local_dask_and_lambda_stand_side_by_side_each_with_its_cost():
    table = tables(executor=["local", "dask", "lambda"])["executor"]
    rows = {row["metric"]: row for row in table.rows}
    assert table.title == "Executors side by side"
    assert [column.title for column in table.columns if ":" in column.title] == ["dask : local", "lambda : local"]
    assert all(rows["Cost, USD"][executor] > 0 for executor in ("local", "dask", "lambda"))
    cluster = rows["Cost of the cluster, USD"]
    assert cluster["dask"] == pytest.approx(rows["Cores allocated, core-s"]["dask"] / 3600 * 0.04)
    assert cluster["local"] is None and cluster["lambda"] is None


def test_cold_ranks_have_rows_of_their_own():
    rows = tables()["ranks"].rows
    assert [(row["start"], row["ranks"]) for row in rows] == [("warm", 57), ("cold", 6)]
    warm, cold = rows
    assert warm["share_load"] == 0 < cold["share_load"]
    assert warm["median_s"] <= warm["p95_s"] <= warm["max_s"]
    shares = [value for key, value in warm.items() if key.startswith("share_")]
    assert sum(shares) == pytest.approx(1)


def test_an_outlier_is_counted_and_left_out_of_the_mean_alone():
    warm = tables(data_size="4GB", repeats=1)["ranks"].rows[0]
    assert warm["outliers"] >= 2
    assert warm["max_s"] > 3 * warm["mean_s"]


def test_the_mean_of_repeats_has_an_interval_and_a_single_run_has_none():
    several, one = (tables(repeats=repeats)["cells"] for repeats in (3, 1))
    row = several.rows[0]
    assert row["makespan_s_low"] < row["makespan_s"] < row["makespan_s_high"]
    assert "±" in several.cells()[0][1]
    assert one.rows[0]["makespan_s_low"] is None
    assert "±" not in one.cells()[0][1]


def test_failed_runs_are_counted_in_a_column_of_their_own():
    runs = [
        replace(run, failed="away") if run.axes["batch_size"] == 64 else run for run in measured(batch_size=[32, 64])
    ]
    table = next(iter(tables_of(cells_of([*runs, *measured(batch_size=[128])]))))
    rows = {row["batch_size"]: row for row in table.rows}
    assert (rows[32]["failed"], rows[64]["failed"], rows[64]["runs"]) == (0, 3, 0)
    failed = next(cells for cells, row in zip(table.cells(), table.rows, strict=True) if row is rows[64])
    assert failed[3:] == [DASH] * (len(failed) - 3)


def test_csv_holds_plain_numbers_and_the_ends_of_every_interval():
    table = tables(batch_size=[32, 64])["batch_size"]
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["batch_size"] for row in rows] == ["32", "64"]
    assert float(rows[0]["makespan_s_low"]) < float(rows[0]["makespan_s"]) < float(rows[0]["makespan_s_high"])


def test_every_form_shows_the_same_cells():
    table = tables(batch_size=[32, 64])["batch_size"]
    shown = table.cells()
    assert [list(row.values()) for row in table.to_artifact()] == shown
    markdown = table.to_markdown()
    console = Console(width=200, record=True, file=io.StringIO())
    print_table(console, table)
    printed = console.export_text()
    for cell in (cell for row in shown for cell in row):
        assert cell in markdown
        assert cell in printed


def test_hostile_text_is_shown_as_it_is():
    text = "[red]<b>|`x`"
    table = Table("x", "t", [Column("a", text, str, text=True)], [{"a": text}], "c")
    console = Console(width=80, record=True, file=io.StringIO())
    print_table(console, table)
    assert console.export_text().count(text) == 2
    assert "<b>" not in table.to_markdown()
