"""Render the templates that are not HTML: Python, Markdown and sentences."""

import json
from functools import cache

import jinja2

from gapbench.report import format as fmt


def render(template: str, **values: object) -> str:
    """Return the text of a template; nothing in ``values`` is escaped."""
    return _environment().get_template(template).render(values)


def sentences(template: str, **values: object) -> str:
    """Return the text of a template as one line."""
    return " ".join(render(template, **values).split())


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - no HTML
        loader=jinja2.PackageLoader("gapbench.report"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.globals.update(json=json.dumps, fmt=fmt)
    return environment
