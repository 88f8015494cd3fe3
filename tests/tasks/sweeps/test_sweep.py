from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.sweeps.sweep import Sweep

ROOT = Path(__file__).parents[3]
READY_MADE = sorted((ROOT / "benchmarks" / "sweeps").glob("*.yaml"))
SWEEP = {
    "name": "batch-size",
    "request": {"bucket": "cosmicai-bench", "data_bucket": "cosmicai-bench"},
    "axes": {"batch_size": [32, 64], "partition_size": "50MB", "data_size": "1GB"},
    "repeats": 2,
}


def cells(**axes):
    return Sweep.read(SWEEP | {"axes": SWEEP["axes"] | axes}).cells()


def test_every_combination_is_a_cell_called_as_result_paths_in_use_are():
    assert [cell.name for cell in cells(partition_size=["50MB", "100MB"])] == [
        "filelimit-21_batchsize-32_prefix-50MB",
        "filelimit-11_batchsize-32_prefix-100MB",
        "filelimit-21_batchsize-64_prefix-50MB",
        "filelimit-11_batchsize-64_prefix-100MB",
    ]


@pytest.mark.parametrize(
    ("data", "partition", "files"),
    [("12.6GB", "25MB", 517), ("12.6GB", "50MB", 259), ("12.6GB", "100MB", 130), ("1GB", "100MB", 11)],
)
def test_a_data_size_is_as_many_partitions_as_published_runs_had(data, partition, files):
    (cell,) = cells(data_size=data, partition_size=partition, batch_size=512)
    assert (cell.ranks, cell.request["file_limit"], cell.request["data_prefix"]) == (files, files, partition)


def test_a_cluster_in_the_request_is_of_the_cells_on_dask_alone():
    request = SWEEP["request"] | {"cluster": {"scheduler": "tcp://head:8786"}}
    axes = SWEEP["axes"] | {"batch_size": 32, "executor": ["local", "dask", "lambda"]}
    sweep = Sweep.read(SWEEP | {"request": request, "axes": axes, "workers": 2})
    by_executor = {cell.executor: cell for cell in sweep.cells()}
    assert {name for name, cell in by_executor.items() if "cluster" in cell.request} == {"dask"}
    assert {name: sweep.workers_of(cell) for name, cell in by_executor.items()} == {
        "local": 2,
        "dask": None,
        "lambda": None,
    }


def test_what_else_varies_stands_in_the_name():
    (cell,) = cells(
        batch_size=32, engine="torch", executor="lambda", memory_mb=2048, format="safetensors", world_size=3
    )
    assert cell.name == (
        "filelimit-21_batchsize-32_prefix-50MB-safetensors_worldsize-3_memory-2048_engine-torch_executor-lambda"
    )


def test_the_run_number_lies_below_the_cell():
    (cell, _) = cells()
    assert cell.request_of("results", 2)["result_path"] == "results/filelimit-21_batchsize-32_prefix-50MB/2"


def test_repeats_take_turns_over_the_cells():
    runs = [(repeat, cell.axes["batch_size"]) for repeat, cell in Sweep.read(SWEEP).runs()]
    assert runs == [(1, 32), (1, 64), (2, 32), (2, 64)]


def test_equal_points_are_one_cell():
    assert len(cells(batch_size=[32, 32], data_size=["1GB", "1024MB"])) == 1


def test_changes_are_laid_over_key_by_key():
    sweep = Sweep.read(SWEEP, {"axes": {"data_size": "100MB"}, "repeats": 1})
    assert [cell.name for cell in sweep.cells()] == [
        "filelimit-2_batchsize-32_prefix-50MB",
        "filelimit-2_batchsize-64_prefix-50MB",
    ]
    assert sweep.repeats == 1


def test_reused_files_make_a_run_larger_than_the_data_set():
    survey = {"samples": 5112}
    sweep = SWEEP | {"survey": survey, "reuse": True, "axes": {"data_size": "1GB", "partition_size": "25MB"}}
    (cell,) = Sweep.read(sweep).cells()
    assert (cell.request["world_size"], cell.ranks) == (41, 41)


@pytest.mark.parametrize(
    ("changes", "error_message"),
    [
        ({"axes": {"batch_sise": [1]}}, "unknown key in the sweep: axes.batch_sise"),
        ({"colour": 1}, "unknown key in the sweep: colour"),
        ({"name": "../x"}, "name"),
        ({"axes": {"batch_size": []}}, "batch_size"),
        ({"axes": {"batch_size": [0], "data_size": "1GB"}}, "batch_size"),
        ({"axes": {"memory_mb": [64], "data_size": "1GB"}}, "memory_mb"),
        ({"axes": {"memory_mb": [20480], "data_size": "1GB"}}, "memory_mb"),
        ({"axes": {"data_size": "1 apple"}}, "1 apple"),
        ({"axes": {"engine": "tensorflow", "data_size": "1GB"}}, "engine"),
        ({"axes": {"executor": "moon", "data_size": "1GB"}}, "executor"),
        ({"axes": {"batch_size": [32]}}, "data_size"),
        ({"axes": {"data_size": "1GB", "partition_size": "25MB", "world_size": 100}}, "world_size 100 is more"),
        ({"survey": {"samples": 1278}, "axes": {"data_size": "1GB"}}, "set reuse: true"),
        ({"survey": {}}, "survey"),
        ({"survey": {"samples": 3, "source": "x"}}, "survey"),
        ({"request": {"bucket": "cosmicai-bench"}}, "data_bucket"),
        ({"request": SWEEP["request"] | {"batch_size": 3}}, "batch_size, which is an axis"),
        ({"request": SWEEP["request"] | {"colour": 3}}, "colour"),
        ({"repeats": 0}, "repeats"),
        ({"axes": {"batch_size": list(range(1, 3000)), "data_size": ["1GB", "2GB"]}}, "at most 10,000"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_one_sentence(changes, error_message):
    with pytest.raises(BadInput, match=error_message) as error:
        Sweep.read(SWEEP | changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\0", "name: x"])
def test_a_file_that_is_no_sweep_is_refused_by_name(tmp_path, text):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"sweep\.yaml"):
        Sweep.load(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"none\.yaml"):
        Sweep.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_the_ready_made_sweeps_are_fit_to_run(path):
    sweep = Sweep.load(path)
    assert sweep.name == path.stem
    assert sweep.description
    assert sweep.cells()


def test_there_are_sweeps_for_what_the_report_measured():
    names = {path.stem for path in READY_MADE}
    assert names >= {"smoke", "batch-size", "partition-size", "data-size", "scale", "memory", "data-access"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*SWEEP, "survey", "reuse", "x"]), json_values))
def test_whatever_comes_is_either_a_sweep_or_one_sentence(changes):
    try:
        sweep = Sweep.read(SWEEP | changes)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert Sweep.read(yaml.safe_load(yaml.safe_dump(sweep.model_dump()))) == sweep


@pytest.mark.timeout(30)
def test_a_few_lines_that_stand_for_gigabytes_are_refused_at_once(tmp_path):
    lines = ["name: b", "request:", "  bucket: cosmicai", "  rank_timeout:", "    a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"    a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)]
    path = tmp_path / "sweep.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(BadInput, match="has an alias"):
        Sweep.load(path)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system"])
def test_a_sweep_names_no_code(tmp_path, tag):
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: {tag}\n")
    with pytest.raises(BadInput, match="is not YAML"):
        Sweep.load(path)


def test_a_name_like_that_of_a_packaged_sweep_is_answered_with_it():
    with pytest.raises(BadInput, match=r"no file 'smok' is there, .* \(did you mean smoke\?\)"):
        Sweep.load(Path("smok"))
