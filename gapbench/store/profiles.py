"""Profiles in a run's folder, whose other files they leave unchanged, or in a folder of their own.

One folder per case::

    profiles/<case>/
        <implementation>.json            the profile's document: see gapbench.profiling.profiles
        <implementation>.trace.json.gz   a Chrome trace, for https://ui.perfetto.dev
        <implementation>.generated.py    the code that Inductor generated, if any

In a run of ``gapbench ab`` names include the side: ``<implementation>.base.json``.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import defstruct

from gapbench.errors import GapbenchError
from gapbench.store.records import Number
from gapbench.store.run import load, typed
from gapbench.store.store import Store

FOLDER = "profiles"
SCHEMA = 1


def _shape(required: dict[str, Any], texts: str = "", numbers: str = "", **optional: Any) -> Any:
    """Return a type of documents with ``required`` fields, and optional texts, numbers and others."""
    fields: dict[str, Any] = {**dict.fromkeys(texts.split(), str), **dict.fromkeys(numbers.split(), Number), **optional}
    return defstruct("Profile", [*required.items(), *((name, kind | None, None) for name, kind in fields.items())])


def _many(*of: Any) -> Any:
    kind: Any = list
    return kind[_shape(*of)]


_ALWAYS = {"case": str, "implementation": str, "status": str}
_EXPLANATION = _shape({"sentence": str, "findings": _many({"sentence": str})})
_TOLD = {"versions": dict[str, str], "explanation": _EXPLANATION}

_PROFILE = _shape(_ALWAYS, "reason side dtype family", "seconds bytes_moved", files=list[str], notes=list[str], **_TOLD)

_MEASURED = _shape(
    {
        **_ALWAYS, "seconds": Number, "shares": dict[str, Number],
        "operators": _many({"name": str, "dtypes": list[str]}, "", "calls self_seconds total_seconds bytes gbps"),
        "files": list[str], "notes": list[str], "counters": _many({"name": str}, "reason", "value"),
    },
    "reason side dtype family",
    "bytes_moved page_faults page_fault_share one_element_seconds profiled_seconds calls peak_extra_bytes gbps "
    "trace_calls attempts",
    generated=_shape({"sentence": str}, "", "recompilations graph_breaks"), **_TOLD,
)  # fmt: skip


def stem(name: str) -> str:
    """Return a case's or an implementation's name as a portable file name; a long one ends in a hash."""
    safe = re.sub(r"[^\w.+-]|^\.", "_", name) or "_"
    return safe if len(safe.encode()) <= 120 else f"{safe[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def stem_of(document: Mapping[str, Any]) -> str:
    """Return the common beginning of the names of a profile's files."""
    return stem(document["implementation"]) + (f".{document['side']}" if document.get("side") else "")


def folder(store: Store, run: str | None, case: str) -> str:
    """Return the folder of a case's profiles, in a run or in a store that holds only profiles."""
    return store.path(run, FOLDER, stem(case)) if run else store.path(stem(case))


def prepare(store: Store, run: str | None, case: str) -> None:
    """Make the folder, and check that it can be written, before anything is measured. Raises `GapbenchError`."""
    of_case = folder(store, run, case)
    store.make_folder(of_case)
    store.write(f"{of_case}/.writable", b"")
    store.remove(f"{of_case}/.writable")


def keep(store: Store, run: str | None, document: Mapping[str, Any], files: Mapping[str, bytes]) -> list[str]:
    """Write a profile, over an earlier one of the same implementation, its document last; return the paths."""
    of_case = folder(store, run, document["case"])
    store.make_folder(of_case)
    path = f"{of_case}/{stem_of(document)}"
    for name, content in files.items():
        store.write(f"{path}.{name}", content)
    store.write(f"{path}.json", json.dumps(document, ensure_ascii=False, allow_nan=False).encode())
    return [f"{path}.json", *(f"{path}.{name}" for name in files)]


def read(store: Store, run: str) -> dict[str, list[dict[str, Any]]]:
    """Return a run's profiles by case, fastest first, unmeasured last. Raises `GapbenchError` for a damaged one."""
    profiles: dict[str, list[dict[str, Any]]] = {}
    for name in store.files(run):
        if re.fullmatch(rf"{FOLDER}/[^/]+/[^/]+(?<!\.trace)\.json", name):
            document = _read(store, run, name)
            profiles.setdefault(document["case"], []).append(document)
    for documents in profiles.values():
        documents.sort(key=lambda each: (each.get("seconds") is None, each.get("seconds"), each["implementation"]))
    return profiles


def _read(store: Store, run: str, name: str) -> dict[str, Any]:
    remedy = "profile again, or remove it"
    try:
        document = load(store.read(run, name) or b"")
        if document.get("schema") != SCHEMA or not {"case", "implementation", "status"} <= document.keys():
            raise GapbenchError(f"run {run}: {name} is not a profile of schema {SCHEMA}; {remedy}")
        typed(document, _MEASURED if document["status"] == "ok" else _PROFILE)
    except ValueError as error:
        raise GapbenchError(f"run {run}: {name} is damaged ({error}); {remedy}") from error
    return document
