"""HTML pages: one frame, one style and one way to show tables, figures and explained numbers."""

from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.reporting import formatting

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["format"] = formatting


class Stat(NamedTuple):
    """What a number is, the number with its unit, and how it was obtained."""

    label: str
    value: str
    how: str


def render_page(template: str, **content: Any) -> str:
    """One HTML document without scripts or outside resources; all text in it is escaped.

    Args:
        template: name of a template beside this module, which extends `page.html`.
        content: what the template names.

    Raises:
        jinja2.UndefinedError: the template names something that `content` lacks.
    """
    return _TEMPLATES.get_template(template).render(**content)
