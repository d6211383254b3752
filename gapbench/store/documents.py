"""A run's ``run.json`` and its name, neither of which is believed before it is looked at."""

import re
from typing import Any

from gapbench.errors import GapbenchError
from gapbench.store import validity
from gapbench.store.tables import check_schema

WHOLE_ID = re.compile(r"\d{8}T\d{6}Z-\w+-\w+")
"""What ids look like, as gapbench makes them."""


def is_id(name: str) -> bool:
    """Tell whether a run may have this name: one that cannot lead out of the store's folder."""
    return re.fullmatch(r"\w[\w.-]*", name) is not None


def parse(run: str, text: bytes) -> dict[str, Any]:
    """Return what a ``run.json`` says. Raises `GapbenchError` if it is damaged, or of a schema that is not known."""
    try:
        document = validity.load(text)
    except ValueError as error:
        raise GapbenchError(f"run {run}: run.json is damaged ({error}); remove or restore it") from error
    check_schema(run, document.get("schema"))
    complete = document.get("ended") is not None  # of one in progress it is enough that two sides are compared
    if wrong := validity.fault(document, {**validity.RUN, **(validity.COMPARISON if complete else {})}):
        raise GapbenchError(f"run {run}: run.json is damaged ({wrong}); remove or restore it")
    return document
