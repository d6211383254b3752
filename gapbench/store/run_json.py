"""JSON documents of a store, and the names of runs: neither is used before it has been validated."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from gapbench.errors import GapbenchError
from gapbench.store.records import BASE, HEAD, SCHEMA
from gapbench.store.run import Run
from gapbench.store.tables import check_schema

T = TypeVar("T")

WHOLE_ID = re.compile(r"\d{8}T\d{6}Z-\w+-\w+")
"""What ids look like, as gapbench makes them."""


def is_id(name: str) -> bool:
    """Tell whether a run may have this name: one that cannot lead out of the store's folder."""
    return re.fullmatch(r"\w[\w.-]*", name) is not None


def load(text: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `ValueError` for one that is damaged, or nested without end."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def typed(document: Mapping[str, Any], kind: type[T]) -> T:
    """Return a document as a ``kind``; null is as good as missing. Raises `ValueError` that names the field."""
    try:
        return msgspec.convert(_without_nulls(document), kind)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ValueError(": ".join(filter(None, [where.strip(".`"), what]))) from error


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_nulls(one) for name, one in value.items() if one is not None}
        case list():
            return [_without_nulls(one) for one in value]
    return value


def decode(document: Mapping[str, Any]) -> Run:
    """Return a ``run.json`` of any schema that is known. Raises `ValueError` that names the field."""
    return typed(_migrated(document), Run)


def parse(run: str, text: bytes) -> Run:
    """Return what a ``run.json`` says. Raises `GapbenchError` if it is damaged, or of a schema that is not known."""
    try:
        document = load(text)
        check_schema(run, document.get("schema"), range(1, SCHEMA + 1))
        return decode(document)
    except ValueError as error:
        raise GapbenchError(f"run {run}: run.json is damaged ({error}); remove or restore it") from error


def dump(run: Run, before: bytes = b"{}") -> bytes:
    """Return the text of a ``run.json``; what only the one ``before`` it has is kept, as others may know it."""
    document = _joined(_migrated(load(before)), msgspec.to_builtins(run, order="deterministic"))
    # what was typed need not be UTF-8
    return json.dumps(document, indent=1, ensure_ascii=False).encode(errors="replace")


def _joined(old: Any, new: Any) -> Any:
    match old, new:
        case dict(), dict():
            return {**old, **{name: _joined(old.get(name), value) for name, value in new.items()}}
        case list(), list() | tuple() if len(old) == len(new):
            return [_joined(*both) for both in zip(old, new, strict=True)]
    return new


def _migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of schema 1 as one of schema 2: with sides, and warnings whose remedy is a field."""
    found = {**document, "schema": SCHEMA}
    for name in ("notes", "warnings"):
        if isinstance(found.get(name), list):
            found[name] = [_warning(one) if isinstance(one, str) else one for one in found[name]]
    match found.pop("ab", None):
        case None:
            pass
        case {"base": dict(base), "head": dict(head), **comparison}:
            found["sides"] = [{**base, "name": BASE}, {**head, "name": HEAD}]
            found["comparison"] = comparison
        case strange:
            found["sides"] = strange
    return found


def _warning(sentence: str) -> dict[str, str]:
    evidence, _, remedy = sentence.rpartition("; ")
    return {"topic": "", "evidence": evidence or remedy, "remedy": remedy if evidence else ""}
