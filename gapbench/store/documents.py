"""A run's ``run.json`` and its name, neither of which is believed before it is looked at."""

import json
import re
from typing import Any

from gapbench.errors import GapbenchError
from gapbench.store.tables import check_schema

_EXPECTED: dict[str, type] = {
    "git": dict,
    "machine": dict,
    "versions": dict,
    "imported": dict,
    "suites": list,
    "ended": str,
}

WHOLE_ID = re.compile(r"\d{8}T\d{6}Z-\w+-\w+")
"""What ids look like, as gapbench makes them."""


def is_id(name: str) -> bool:
    """Tell whether a run may have this name: one that cannot lead out of the store's folder."""
    return re.fullmatch(r"\w[\w.-]*", name) is not None


def parse(run: str, text: bytes) -> dict[str, Any]:
    """Return what a ``run.json`` says. Raises `GapbenchError` if it is damaged, or of a schema that is not known."""
    try:
        document = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise GapbenchError(f"run {run}: run.json is damaged ({error}); remove or restore it") from error
    check_schema(run, document.get("schema"))
    for name, kind in _EXPECTED.items():
        if not isinstance(document.get(name), kind | None):
            raise GapbenchError(f"run {run}: run.json is damaged ({name} is no {kind.__name__}); remove or restore it")
    if not all(isinstance(suite, str) for suite in document.get("suites") or []):
        raise GapbenchError(f"run {run}: run.json is damaged (suites are no names); remove or restore it")
    return document
