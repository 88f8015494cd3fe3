import pytest

from inference.errors import BadInput
from tasks.input_files.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "names the key 'a' twice"),
        ("? [a, b]\n: 1\n", "a key in it is a list or a mapping, and must be a name"),
        ("a: {b: {c: 1}, ? {d: 1} : 2}\n", "a key in it is a list or a mapping, and must be a name"),
        ("a: [1\n", "is not YAML"),
    ],
)
def test_yaml_that_is_ambiguous_or_broken_is_refused_in_one_sentence(tmp_path, text, expected):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=expected) as refused:
        read_yaml(path, "the sweep")
    assert "\n" not in str(refused.value)


def test_yaml_is_read_as_plain_values(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("axes:\n  batch_size: [32, 64]\n")
    assert read_yaml(path, "the sweep") == {"axes": {"batch_size": [32, 64]}}
