import pytest

from tasks.training.measured_section import write_section

BEGIN, END = "<!-- measured: python -m it -->", "<!-- end -->"


def test_a_section_is_replaced_and_the_rest_of_the_page_stays(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nFoot\n")
    write_section(page, BEGIN, END, "new")
    assert page.read_text() == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nFoot\n"
    assert capsys.readouterr().out == "new\n"


@pytest.mark.parametrize("text", ["none", BEGIN, END, f"{BEGIN} {END} {END}", f"{BEGIN} {BEGIN} {END}"])
def test_a_page_without_a_place_for_it_is_left_alone(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="values to unpack"):
        write_section(page, BEGIN, END, "new")
    assert page.read_text() == text
