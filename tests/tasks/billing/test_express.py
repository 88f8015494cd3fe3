import dataclasses

import pytest

from inference.errors import BadInput
from tasks.billing.express import Express, express_of
from tests.tasks.billing.test_cost import CALL


def execution(children="EXPRESS", total=3, pending=0, seconds=()):
    return {"children": children, "items": {"total": total, "pending": pending}, "item_seconds": list(seconds)}


def test_a_run_without_express_children_has_nothing_of_it():
    executions = [execution(children="STANDARD"), execution(children=None), {"state_transitions": 7}]
    assert express_of(executions, [CALL]) == express_of([], [CALL])
    assert (express_of([], []).requests, express_of([], []).gb_s) == (0, 0.0)


def test_each_childs_time_counts_in_steps_of_100_ms_with_64_mb():
    express = express_of([execution(seconds=(0.05, 0.1, 1.01))], [CALL])
    assert express.requests == 3
    assert express.gb_s == pytest.approx((0.1 + 0.1 + 1.1) * 64 / 1024)
    assert express.how == "estimate: time of the children, 64 MB each"


def test_express_children_of_unknown_time_count_as_the_mean_invocation():
    slow = dataclasses.replace(CALL, ended_at=4.0)
    express = express_of([execution(total=4, pending=1, seconds=(1.0,))], [CALL, slow])
    assert express.requests == 3
    assert express.gb_s == pytest.approx((1.0 + 2 * 3.0) * 64 / 1024)
    assert "2 of them as long as the mean invocation" in express.how


def test_several_executions_add_up():
    both = express_of([execution(seconds=(1.0,) * 3), execution(seconds=(2.0,) * 3)], [CALL])
    assert (both.requests, both.gb_s) == (6, pytest.approx(9.0 * 64 / 1024))


@pytest.mark.parametrize("damaged", [execution(total=-1), execution(total="x"), execution(seconds=("1",))])
def test_a_damaged_execution_is_refused(damaged):
    with pytest.raises(BadInput):
        express_of([damaged], [CALL])


def test_nothing_is_the_default():
    assert Express() == Express(0, 0.0, "counted")
