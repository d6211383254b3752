"""Render the templates that are not HTML: Python and Markdown."""

import json

import jinja2


def render(template: str, **values: object) -> str:
    """Return the text of a template; nothing in ``values`` is escaped."""
    environment = jinja2.Environment(  # noqa: S701 - no HTML
        loader=jinja2.PackageLoader("gapbench.report"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(template).render(values, json=json.dumps)
