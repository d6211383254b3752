"""Prepare the profiles of a case for their page: documents of `gapbench.store.profiles` as rows and texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from gapbench.report import format as fmt
from gapbench.report import redaction
from gapbench.report.text import dominant as dominant
from gapbench.store.profiles import stem, stem_of

Documents = Sequence[Mapping[str, Any]]

MOST_OPERATORS = 15  # rows of the table of operators on a page; the document has all

PARTS = (
    ("Python", "code outside of operators: the interpreter, the choice of the code to call, autograd's engine"),
    ("dispatch", "PyTorch's work before the computation: types, shapes, autograd, the output's strides"),
    ("allocation", "getting memory, and page faults: the operating system provides memory when it is first touched"),
    ("kernel", "the computation itself, which grows with the input"),
    ("gaps", "the caller's thread was off the core, or the accelerator was idle"),
    ("unexplained", "the rest of the measured time; below 0 if the other parts exceed it"),
)
"""The parts of a call, explained."""


def name(run: str, case: str) -> str:
    """Return the name of the page of a case's profiles."""
    return f"{run}.{stem(case)}".replace("+", "_")


def public(documents: Documents) -> list[dict[str, Any]]:
    """Redact documents for pages, and add the ``stem`` of their files and names that distinguish sides."""
    shown = []
    for document in documents:
        name = redaction.text(document["implementation"])
        label = f"{name}, {document['side']}" if document.get("side") else name
        shown.append(redaction.document(document) | {"implementation": label, "stem": stem_of(document)})
    return shown


def parts(documents: Documents) -> list[str]:
    """Return the names of the parts that a call was divided into."""
    return list(dict.fromkeys(part for document in measured(documents) for part in document["shares"]))


def measured(documents: Documents) -> list[Mapping[str, Any]]:
    """Return the documents of successful profiles."""
    return [document for document in documents if document["status"] == "ok"]


def operators(document: Mapping[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the most expensive operators: name, dtypes, and calls, own time, total time, bytes and GB/s."""
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    for row in document["operators"][:MOST_OPERATORS]:
        times = fmt.number(row["calls"]), fmt.seconds(row["self_seconds"]), fmt.seconds(row["total_seconds"])
        rows.append((row["name"], ", ".join(row["dtypes"]), (*times, fmt.size(row["bytes"]), fmt.number(row["gbps"]))))
    return rows


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the other facts of a profile, as terms and texts."""
    faults = f"{fmt.number(document['page_faults'])}, {fmt.number(document['page_fault_share'], 2)} % of the time"
    facts = [
        ("time per call", fmt.seconds(document["seconds"])),
        ("with one element", fmt.seconds(document["one_element_seconds"])),
        ("while profiled", fmt.seconds(document["profiled_seconds"])),
        ("calls in a window", fmt.count(document["calls"])),
        ("page faults", faults),
        ("peak extra memory", fmt.size(document["peak_extra_bytes"])),
        ("GB/s", fmt.number(document["gbps"])),
    ]
    if code := document.get("generated"):
        counts = f"{fmt.count(code['recompilations'])}, graph breaks {fmt.count(code['graph_breaks'])}"
        facts += [("compiled", code["sentence"]), ("recompilations", counts)]
    for counter in document["counters"]:
        unknown, count = f"unknown: {counter['reason']}", f"{fmt.number(counter['value'], 4)} a call"
        facts.append((counter["name"], unknown if fmt.missing(counter["value"]) else count))
    return [(term, text) for term, text in facts if text != fmt.MISSING]
