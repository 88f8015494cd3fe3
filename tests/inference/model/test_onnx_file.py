import pytest
from onnx import TensorProto, helper

from inference.errors import BadCheckpoint
from inference.model.onnx_file import check_onnx_file
from tests.inference.engines.test_onnx_file_engine import FLOAT, IMAGE, Z, graph
from tests.support.own_models import exported

INPUTS = [("image", FLOAT, IMAGE)]


@pytest.fixture
def refused(tmp_path):
    def run(model):
        path = tmp_path / "own.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        with pytest.raises(BadCheckpoint) as caught:
            check_onnx_file(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def test_an_exported_model_is_taken(tmp_path):
    exported(tmp_path / "own.onnx")
    check_onnx_file(tmp_path / "own.onnx")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"\x08\x08"], ids=repr)
def test_other_files_are_refused(data, refused):
    assert "is no ONNX model" in refused(data)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"cannot read .*none\.onnx"):
        check_onnx_file(tmp_path / "none.onnx")


def test_a_truncated_model_is_refused(tmp_path, refused):
    exported(tmp_path / "whole.onnx")
    assert "is no ONNX model" in refused((tmp_path / "whole.onnx").read_bytes()[:-9])


def test_a_newer_operator_set_is_refused(refused):
    assert "needs operator set 99; at most " in refused(graph(INPUTS, Z, opset=99))


@pytest.mark.parametrize("versions", [[], [0]], ids=["none", "0"])
def test_a_model_without_an_operator_set_is_refused(versions, refused):
    made = graph(INPUTS, Z)
    del made.opset_import[:]
    made.opset_import.extend(helper.make_opsetid("", version) for version in versions)
    assert "does not say which operator set of ONNX it needs" in refused(made)


def test_a_newer_form_of_the_file_is_refused(refused):
    made = graph(INPUTS, Z)
    made.ir_version = 99
    assert "is in version 99 of ONNX; at most " in refused(made)


def test_an_operator_that_onnx_does_not_have_is_refused(refused):
    node = helper.make_node("Sharpen", ["image"], ["redshift"])
    assert "needs the operator 'Sharpen', which ONNX does not have" in refused(graph(INPUTS, Z, [node]))


def inside_a_branch(node):
    """The node in the branch of an If."""
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("inner", FLOAT, None)])
    return helper.make_node("If", ["choice"], ["redshift"], then_branch=branch, else_branch=branch)


@pytest.mark.parametrize("place", [lambda node: node, inside_a_branch], ids=["outermost", "in a branch"])
def test_custom_operators_are_refused_by_name(place, refused):
    node = helper.make_node("Sharpen", ["image"], ["inner"], domain="my.lab")
    assert "needs the operator 'Sharpen' of 'my.lab'" in refused(graph(INPUTS, Z, [place(node)]))


@pytest.mark.parametrize("place", ["initializer", "attribute", "branch"])
def test_weights_in_other_files_are_refused(place, refused):
    tensor = helper.make_tensor("weight", TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    constant = helper.make_node("Constant", [], ["inner"], value=tensor)
    models = {
        "initializer": lambda: graph(INPUTS, Z, initializer=[tensor]),
        "attribute": lambda: graph(INPUTS, Z, [constant]),
        "branch": lambda: graph(INPUTS, Z, [inside_a_branch(constant)]),
    }
    assert "keeps its weights in another file: export it with external_data=False" in refused(models[place]())
