import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.errors import BadCheckpoint, BadInput
from tasks.staging import own_model
from tasks.staging.own_model import OwnModel, look_at_own_model
from tests.inference.engines.test_onnx_file_engine import FLOAT, IMAGE, Z, graph

INPUTS = [("image", FLOAT, IMAGE)]
MEAN = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)
FULL = helper.make_tensor("value", FLOAT, [1], [1.0])


def constant(name, value):
    return numpy_helper.from_array(np.array(value), name)


def added(nodes, **options):
    """A model that adds `more` to the mean."""
    return graph(INPUTS, Z, [MEAN, *nodes, helper.make_node("Add", ["mean", "more"], ["redshift"])], **options)


def constant_of(size):
    """A model with a constant of so many numbers, which it computes."""
    filled = helper.make_node("ConstantOfShape", ["size"], ["filled"], value=FULL)
    summed = helper.make_node("ReduceMean", ["filled"], ["more"], keepdims=0)
    return added([filled, summed], initializer=[constant("size", np.int64([size]))])


def loop(step):
    """A model with a loop of 2^62 turns, whose body is one node."""
    given = [("turn", TensorProto.INT64, []), ("going", TensorProto.BOOL, []), ("x", FLOAT, ["many"])]
    made = [("still", TensorProto.BOOL, []), ("y", FLOAT, ["more"])]
    infos = [[helper.make_tensor_value_info(*entry) for entry in entries] for entries in (given, made)]
    body = helper.make_graph([helper.make_node("Identity", ["going"], ["still"]), step], "body", *infos)
    turns = [constant("turns", np.int64(2**62)), constant("yes", True)]
    return added([helper.make_node("Loop", ["turns", "yes", "mean"], ["more"], body=body)], initializer=turns)


def functions():
    """A model of 30 functions, each of which calls the one before twice."""
    known = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(name, *nodes):
        return helper.make_function("own", name, ["a"], ["b"], nodes, known)

    made = [function("F0", helper.make_node("Identity", ["a"], ["b"]))]
    for number in range(1, 30):
        before = f"F{number - 1}"
        calls = [helper.make_node(before, [given], [to], domain="own") for given, to in (("a", "t"), ("t", "b"))]
        made.append(function(f"F{number}", *calls))
    model = added([helper.make_node("F29", ["mean"], ["more"], domain="own")])
    model.opset_import.append(known[1])
    model.functions.extend(made)
    return model


@pytest.fixture
def looked_at(tmp_path):
    def look(model, **choice):
        (tmp_path / "own.onnx").write_bytes(model.SerializeToString())
        return look_at_own_model(tmp_path / "own.onnx", **choice)

    return look


def test_a_model_is_taken_with_what_its_engine_says_of_it(looked_at):
    assert looked_at(graph(INPUTS, Z)) == OwnModel((5, 32, 32), gives_uncertainty=False, training_data=None)


ENDLESS = {"loop": lambda: loop(helper.make_node("Identity", ["x"], ["y"])), "functions": functions}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_model_that_never_ends_is_refused(kind, looked_at, monkeypatch):
    monkeypatch.setattr(own_model, "_CPU_S", 3)
    with pytest.raises(BadCheckpoint, match=r"own\.onnx takes more than 3 s of a processor .* export it anew"):
        looked_at(ENDLESS[kind]())


GREEDY = {
    "a constant of 2 GB": lambda: constant_of(5 * 10**8),
    "a constant of 2^62 numbers": lambda: constant_of(2**62),
    "a loop that grows": lambda: loop(helper.make_node("Concat", ["x", "x"], ["y"], axis=0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", GREEDY)
def test_a_model_that_takes_all_memory_is_refused(kind, looked_at):
    with pytest.raises(
        BadCheckpoint, match=r"own\.onnx (fails on a batch|is no graph that|ends the process)"
    ) as caught:
        looked_at(GREEDY[kind]())
    assert "\n" not in str(caught.value)


def test_escapes_in_a_models_names_do_not_reach_the_terminal(looked_at):
    with pytest.raises(BadCheckpoint, match=r"Node input '\\x1b\[2Jimage") as caught:
        looked_at(graph(INPUTS, Z, [helper.make_node("Identity", ["\x1b[2Jimage\n"], ["redshift"])]))
    assert str(caught.value).isprintable()


def test_another_engine_is_refused(looked_at):
    with pytest.raises(BadInput, match="runs in engine onnxruntime in float32, not in engine torch"):
        looked_at(graph(INPUTS, Z), engine="torch")
