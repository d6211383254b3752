"""The HTML report of a run: one file that opens anywhere, years later, without a network.

Everything is escaped by jinja2. Should that ever fail, the page's content security policy runs nothing but the
scripts that this module wrote, known by their hashes, and lets nothing be fetched.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from itables.utils import read_package_file
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import gapbench
from gapbench.errors import GapbenchError
from gapbench.report import facts, rows
from gapbench.report import format as fmt
from gapbench.report.charts import CHARTS

_TEMPLATES = Path(__file__).parent / "templates"


def render(run: Mapping[str, Any], results: pd.DataFrame, winners: pd.DataFrame) -> str:
    """Return the page of one run.

    ``run`` is its run.json, ``results`` its results, ``winners`` one row per case with its best implementation,
    that one's time and ratio with intervals, the ``reference`` and the ``ties``.
    """
    found = rows.cases(results, winners)
    return (
        _environment()
        .get_template("run.html.j2")
        .render(
            run_id=_run_id(run),
            identity=facts.identity(run, results),
            warnings=facts.warnings(run),
            headline=rows.headline(found),
            shared=rows.shared(results, (name for name in rows.CONTEXT if name != "contender")),
            varying=rows.varying(results, rows.CONTEXT),
            cases=found,
            results=[(case, row) for case in found for row in rows.records(case.rows)],
            reference=_reference(winners),
            charts=CHARTS,
            not_measured=rows.not_measured(found),
            environment=facts.environment(run),
        )
    )


def write(folder: Path, run: Mapping[str, Any], results: pd.DataFrame, winners: pd.DataFrame) -> Path:
    """Write the page of one run to ``folder``/<run id>.html and return that path.

    Raises `GapbenchError` if it cannot.
    """
    name = _run_id(run)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise GapbenchError(f"run id {name!r} cannot name a file: use letters, digits, '.', '_' and '-'")
    path = folder / f"{name}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(render(run, results, winners), encoding="utf-8", newline="\n")
    except OSError as error:
        raise GapbenchError(f"cannot write the report {path}: {error.strerror}; choose another folder") from error
    return path


def _run_id(run: Mapping[str, Any]) -> str:
    return str(run.get("run") or "unnamed")


def _reference(winners: pd.DataFrame) -> str | None:
    """Return the reference's name if all cases have the same, so that it can head the column."""
    references = set(winners["reference"].dropna()) if "reference" in winners else set()
    return str(references.pop()) if len(references) == 1 else None


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [_inline(get_plotlyjs()), _inline((_TEMPLATES / "report.js").read_text(encoding="utf-8"))]
    environment.filters["figure_json"] = _figure_json
    environment.globals.update(
        fmt=fmt,
        fact=rows.fact,
        names=rows.names,
        records=rows.records,
        context=rows.CONTEXT,
        version=gapbench.__version__,
        css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        datatables=_inline(read_package_file("html", "dt_bundle.js")),
        scripts=scripts,
        script_hashes=[_hash(script) for script in scripts],
    )
    return environment


def _inline(script: str) -> Markup:
    """Return a script for use inside a script element.

    What would end the element (or keep it from ending) occurs only in strings and regular expressions, where an
    escape means the same.
    """
    escaped = re.sub(r"<(?=!--|/?script)", r"\\x3C", script, flags=re.IGNORECASE)
    return Markup(escaped)  # noqa: S704 - libraries' and our own code


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that cannot end the script element which it stands in."""
    escaped = str(figure.to_json()).translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"})
    return Markup(escaped)  # noqa: S704 - no markup is left in it
