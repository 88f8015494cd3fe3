"""The part of a page of docs that a command writes: what it measured, between two comments."""

from pathlib import Path


def write_section(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text in the place of what stands between two comments of a page, and print it.

    Args:
        page: in Markdown, with both comments, each once.
        begin: the comment before it, which names the command.
        end: the comment after it.
        text: the section.

    Raises:
        ValueError: the page lacks a comment, or has it twice; nothing was written.
    """
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
    print(text)  # noqa: T201
