import json
from dataclasses import replace

import pytest

from inference.errors import BadInput
from inference.rank_results.publish_summary import generation_folder, publish_summary, run_lease
from inference.storage.store import Store
from tasks.sweeps.comparison import GATES, compare, load_side, side_of, side_of_runs
from tasks.sweeps.report import describe_sweep
from tests.support.swept import measured


def run(name="A", **axes):
    return side_of_runs(name, [measured(repeats=1, **axes)[0].document])


def sweep(name="A", **axes):
    return side_of(name, json.loads(json.dumps(describe_sweep("s", "", measured(**axes)))))


def row(comparison, metric):
    return next(row for row in comparison["rows"] if row["metric"] == metric)


class TestVerdicts:
    def test_repeats_tell_whether_a_difference_exceeds_the_noise(self):
        comparison = compare(sweep("A", noise=0.01), sweep("B", noise=0.01, speed=0.5, seed=3))
        worse = row(comparison, "makespan_s")
        assert worse["verdict"] == "B is worse"
        assert 1.5 < worse["ratio_low"] < worse["ratio"] < worse["ratio_high"] < 2.5
        assert row(comparison, "samples_per_s")["verdict"] == "B is worse", "less of it is worse"
        assert row(comparison, "usd")["verdict"] == "B is worse"

    def test_a_difference_within_the_noise_is_said_to_be(self):
        comparison = compare(sweep("A", noise=0.1), sweep("B", noise=0.1, speed=0.98, seed=3))
        assert row(comparison, "makespan_s")["verdict"] == "within the noise"

    def test_one_run_each_tells_no_noise(self):
        comparison = compare(run(), run("B", speed=0.5))
        assert row(comparison, "makespan_s")["verdict"] == "one run each: no noise known"
        assert row(comparison, "makespan_s")["ratio_low"] is None

    def test_one_run_against_repeats_tells_none_either(self):
        comparison = compare(run(), sweep("B"))
        assert row(comparison, "makespan_s")["verdict"] == "one run on one side: no noise known"

    def test_the_noise_of_a_rank_time_comes_from_one_runs_ranks(self):
        comparison = compare(run(), run("B", speed=0.5, seed=3))
        assert row(comparison, "warm_rank_s")["verdict"] == "B is worse, by the spread of ranks within the runs"

    def test_a_sweep_on_dask_stands_beside_the_same_on_this_machine(self):
        sizes = ["50MB", "100MB"]
        comparison = compare(sweep(partition_size=sizes), sweep("B", partition_size=sizes, executor="dask"))
        assert {each["cell"] for each in comparison["rows"]} == {"50 MB", "100 MB"}
        assert comparison["settings"] == [{"setting": "executor", "a": "local", "b": "dask"}]

    def test_two_runs_on_clusters_are_compared_by_what_these_cost(self):
        comparison = compare(run(executor="dask"), run("B", executor="dask", speed=0.5))
        assert row(comparison, "cluster_usd")["ratio"] > 1.2
        assert row(comparison, "core_s_allocated")["unit"] == "core-s"

    def test_a_run_equals_itself(self):
        comparison = compare(run(), run("B"))
        exact = {row["metric"]: row["verdict"] for row in comparison["rows"] if "rank_s" not in row["metric"]}
        assert set(exact.values()) == {"equal"}
        assert comparison["warnings"] == []

    def test_a_figure_that_is_zero_has_no_ratio(self):
        (before,), (after,) = (measured(repeats=1) for _ in range(2))
        zero = side_of_runs("B", [after.document | {"cost": {"usd": 0.0}}])
        found = row(compare(side_of_runs("A", [before.document]), zero), "usd")
        assert (found["ratio"], found["verdict"]) == (None, "no ratio: a run has 0")

    def test_cells_of_two_sweeps_are_paired_by_axes_others_are_named(self):
        comparison = compare(sweep("A", batch_size=[32, 64]), sweep("B", batch_size=[64, 128, 256]))
        assert {row["cell"] for row in comparison["rows"]} == {"batch 64"}
        assert "1 cell of A is not in the other" in comparison["warnings"]
        assert "2 cells of B are not in the other" in comparison["warnings"]

    def test_sweeps_without_a_common_cell_are_refused(self):
        with pytest.raises(BadInput, match="A and B share no cell"):
            compare(sweep("A", batch_size=[32, 64]), sweep("B", batch_size=[128, 256]))


class TestWarnings:
    @pytest.mark.parametrize(
        ("axes", "warning"),
        [
            ({"data_size": "2GB"}, "different data: A has cosmicai-bench/50MB, 21 files, 53,676 samples, B has"),
            ({"world_size": 7}, "different world size: A has 21, B has 7"),
            ({"engine": "torch"}, "different engine: A has onnxruntime, B has torch"),
            ({"batch_size": 64}, "different batch size: A has 128, B has 64"),
            ({"executor": "lambda"}, "different executor: A has local, B has lambda"),
        ],
    )
    def test_what_differs_besides_the_figures_is_said(self, axes, warning):
        assert any(found.startswith(warning) for found in compare(run(), run("B", **axes))["warnings"])

    def test_files_are_those_that_were_read_and_not_the_limit(self):
        (less,), (more,) = measured(repeats=1), measured(repeats=1)
        ranks = [{**rank, "data_path": f"50MB/{rank['rank']}.pt"} for rank in less.document["ranks"][:2]]
        sides = side_of_runs("A", [less.document | {"ranks": ranks}]), side_of_runs("B", [more.document])
        assert any("50MB, 2 files," in found for found in compare(*sides)["warnings"])

    def test_another_model_is_said(self):
        (other,) = measured(repeats=1)
        changed = other.document | {"model": {"key": "models/full.safetensors", "sha256": "cd" * 32}}
        (warning,) = compare(run(), side_of_runs("B", [changed]))["warnings"]
        assert warning.startswith("different model: A has models/full.safetensors (abababababab)")

    def test_incomplete_and_resumed_runs_are_said(self):
        (other,) = measured(repeats=1)
        changed = other.document | {"missing_ranks": [3], "ranks_resumed": 4}
        warnings = compare(run(), side_of_runs("B", [changed]))["warnings"]
        assert "1 of 1 run of B is incomplete: ranks are missing" in warnings
        assert any("1 of 1 run of B was resumed" in warning for warning in warnings)


class TestTheGate:
    def test_trips_when_b_is_worse_by_more_than_the_ratio_beyond_the_noise(self):
        tripped = compare(sweep("A", noise=0.01), sweep("B", noise=0.01, speed=0.7, seed=3), 1.1)["tripped"]
        assert [sentence.split(":")[0] for sentence in tripped] == ["Makespan", "Cost"]
        assert tripped[0].endswith("more than the 1.1 allowed, beyond the noise")

    def test_does_not_trip_within_the_ratio_or_when_b_is_better(self):
        slower = sweep("B", noise=0.01, speed=0.7, seed=3)
        assert compare(sweep(noise=0.01), slower, 2.0)["tripped"] == []
        assert compare(slower, sweep(noise=0.01), 1.1)["tripped"] == []

    def test_does_not_trip_within_the_noise(self):
        noisy = compare(sweep("A", noise=0.3), sweep("B", noise=0.3, speed=0.9, seed=3), 1.0)
        assert row(noisy, "makespan_s")["exceeds_noise"] is False
        assert noisy["tripped"] == []

    def test_goes_by_the_ratio_alone_where_no_noise_is_known_and_says_so(self):
        (makespan, _) = compare(run(), run("B", speed=0.5), 1.1)["tripped"]
        assert makespan.endswith("with no noise known")

    def test_takes_a_metric_of_which_more_is_better(self):
        (found,) = compare(run(), run("B", speed=0.5), 1.1, ["samples_per_s"])["tripped"]
        assert found.startswith("Throughput: B is 1.9")

    def test_is_open_unless_asked_for(self):
        assert compare(run(), run("B", speed=0.5))["tripped"] == []

    @pytest.mark.parametrize(
        ("ratio", "gates"), [(0.9, GATES), (float("nan"), GATES), (1.1, ["colour"]), (1.1, ["samples"])]
    )
    def test_that_cannot_be_is_refused(self, ratio, gates):
        with pytest.raises(BadInput, match=r"--fail-above|--metric"):
            compare(run(), run("B"), ratio, gates)


class TestLoading:
    @pytest.fixture
    def root(self, tmp_path):
        one, *more = [each.document for each in measured()]
        sweep = describe_sweep("s", "", measured(batch_size=[32, 64]))
        for place, document in (
            ("bench/results/lone", one),
            ("bench/results/cell/1", one),
            ("bench/results/cell/2", more[0]),
            ("bench/results/cell/10", more[1]),
        ):
            (tmp_path / place).mkdir(parents=True)
            (tmp_path / place / "summary.json").write_text(json.dumps(document))
        (tmp_path / "bench/sweeps/s").mkdir(parents=True)
        (tmp_path / "bench/sweeps/s/sweep.json").write_text(json.dumps(sweep))
        return tmp_path

    @pytest.mark.parametrize(
        ("place", "runs"),
        [("bench/results/lone", [1]), ("bench/results/cell", [3]), ("bench/sweeps/s", [3, 3])],
    )
    def test_a_run_the_repeats_of_a_cell_and_a_sweep_are_read_from_the_store(self, root, place, runs):
        assert [len(cell.runs) for cell in load_side(place, str(root)).cells] == runs

    def test_the_committed_summary_counts_and_not_a_replaced_copy(self, root):
        store, path = Store(root), "results/lone"
        held = run_lease(store, "bench", path, "run").take(60)
        committed = store.read("bench", f"{path}/summary.json")
        store.write("bench", f"{generation_folder(path, held.generation)}/summary.json", committed)
        publish_summary(held, path)
        store.write("bench", f"{path}/summary.json", b"of a run that lost its lease")
        assert [len(cell.runs) for cell in load_side("bench/results/lone", str(root)).cells] == [1]

    @pytest.mark.parametrize(
        ("place", "runs"),
        [("bench/results/lone", [1]), ("bench/results/lone/summary.json", [1]), ("bench/sweeps/s", [3, 3])],
    )
    def test_a_file_or_a_folder_is_read_where_it_lies(self, root, place, runs, tmp_path):
        assert [len(cell.runs) for cell in load_side(str(root / place), str(tmp_path / "other")).cells] == runs

    @pytest.mark.parametrize("place", ["nowhere", "bench/nothing", "bench/../x", "BAD/x", "bench/results/c"])
    def test_a_place_where_nothing_is_gets_refused_in_one_sentence(self, root, place):
        with pytest.raises(BadInput) as raised:
            load_side(place, str(root))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"measurements": 3}', '{"measurements": []}', "[" * 100_000])
    def test_a_file_that_is_no_run_and_no_sweep_is_refused_by_name(self, tmp_path, content):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(BadInput, match=r"x\.json"):
            load_side(str(tmp_path / "x.json"), str(tmp_path))

    def test_a_sweep_whose_runs_all_failed_is_refused(self):
        failed = [replace(each, failed="away") for each in measured()]
        with pytest.raises(BadInput, match="s holds no whole run"):
            side_of("s", describe_sweep("s", "", failed))
