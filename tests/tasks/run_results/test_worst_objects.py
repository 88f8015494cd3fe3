import numpy as np
import pyarrow as pa
import pytest

from inference.contract.survey_facts import SurveyFacts
from inference.partitions.partition import write_partition
from inference.storage.store import Store
from tasks.run_results.worst_objects import WORST, WorstObjects, worst_cutouts, worst_table
from tests.support.surveys import random_survey

BUCKET = "cosmicai-test"


def objects(z_pred, z_spec, file="survey/1.safetensors", **more):
    count = len(z_pred)
    columns = {"file": [file] * count, "index": np.arange(count), "mag_r": np.full(count, 18.0, np.float32)}
    return pa.table(columns | {"z_pred": np.float32(z_pred), "z_spec": np.float64(z_spec)} | more)


def found_in(*tables):
    worst = WorstObjects()
    for table in tables:
        worst.look_at(table)
    return worst.to_list()


def test_the_furthest_off_come_first_whichever_part_they_lie_in():
    rng = np.random.default_rng(3)
    z_spec = rng.uniform(0.1, 0.5, 300)
    z_pred = np.float32(z_spec + rng.normal(0, 0.05, 300))
    parts = [
        objects(z_pred[start : start + 100], z_spec[start : start + 100], f"{start}.pt") for start in (0, 100, 200)
    ]
    found = found_in(*parts)
    delta = (z_pred.astype(float) - z_spec) / (1 + z_spec)
    expected = np.argsort(-np.abs(delta))[:WORST]
    assert [(row["file"], row["index"]) for row in found] == [(f"{n // 100 * 100}.pt", n % 100) for n in expected]
    assert [row["delta"] for row in found] == pytest.approx(delta[expected])


def test_an_object_without_a_known_redshift_is_not_among_them():
    found = found_in(objects([0.1, 0.2, 0.3], [np.nan, 0.25, -9999.0]))
    assert [row["index"] for row in found] == [1]
    assert found_in(objects([0.1], [np.nan])) == []


def test_the_table_says_the_interval_and_whether_the_object_was_flagged():
    more = {"z_err68_low": [0.1, np.nan], "z_err68_high": [0.3, np.nan]}
    more |= {"z_err95_low": [0.05, np.nan], "z_err95_high": [0.4, np.nan], "out_of_domain": [False, True]}
    table = worst_table(found_in(objects([0.2, 0.3], [0.21, 0.1], **more)))
    assert [row["interval"] for row in table.rows] == ["none", "0.050 to 0.400"]
    assert [row["flag"] for row in table.rows] == ["yes", ""]
    assert table.rows[0]["object"] == "survey/1.safetensors : 1"


class TestTheirCutouts:
    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / BUCKET / "survey").mkdir(parents=True)
        write_partition(tmp_path / BUCKET / "survey/1.safetensors", *random_survey(12, seed=1))
        return Store(tmp_path)

    @pytest.mark.parametrize("count", [1, 3, 12])
    def test_are_drawn_with_both_redshifts_below(self, store, count):
        worst = found_in(objects(np.linspace(0.3, 0.9, count), np.full(count, 0.25)))
        picture = worst_cutouts(store, BUCKET, worst)
        assert picture.svg.count("<image") == min(count, WORST)

    @pytest.mark.parametrize(
        ("bands", "said"),
        [("griz", "i, r and g as red, green and blue"), ("grz", "z, r and g as red"), ("gr", "the band r in grey")],
    )
    def test_are_drawn_of_any_bands_and_say_which(self, tmp_path, bands, said):
        (tmp_path / BUCKET / "survey").mkdir(parents=True)
        rng = np.random.default_rng(0)
        images = rng.normal(size=(3, len(bands), 48, 48)).astype(np.float32)
        facts = SurveyFacts(bands=tuple(bands))
        path = tmp_path / BUCKET / "survey/1.safetensors"
        write_partition(path, images, rng.uniform(15, 20, (3, len(bands))), rng.uniform(0.1, 0.3, 3), facts)
        picture = worst_cutouts(Store(tmp_path), BUCKET, found_in(objects([0.3, 0.4, 0.5], [0.25, 0.2, 0.1])))
        assert picture.svg.count("<image") == 3 and said in picture.caption

    @pytest.mark.parametrize(
        "worst", [[], [{"file": "survey/2.pt", "index": 0}], [{"file": "survey/1.safetensors", "index": 12}]]
    )
    def test_are_left_out_where_there_are_none_or_the_partition_is_another(self, store, worst):
        assert worst_cutouts(store, BUCKET, worst) is None

    def test_are_left_out_where_the_partition_is_damaged(self, store, tmp_path):
        worst = found_in(objects([0.3], [0.25]))
        (tmp_path / BUCKET / "survey/1.safetensors").write_bytes(b"no")
        assert worst_cutouts(store, BUCKET, worst) is None
