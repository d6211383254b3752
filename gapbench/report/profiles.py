"""What the page of a profiled case shows: documents of `gapbench.store.profiles`, as frames and as texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gapbench.report import format as fmt
from gapbench.report import redaction
from gapbench.store.profiles import stem, stem_of

Documents = Sequence[Mapping[str, Any]]

MOST_OPERATORS = 15  # rows of a table of operators that a page shows; the document has all

PARTS = (
    ("Python", "what runs outside of operators: the interpreter, what decides which code to call, autograd's engine"),
    ("dispatch", "PyTorch's way from a call to the code that computes: types, shapes, autograd, the output's strides"),
    ("allocation", "getting memory, and page faults: the operating system makes memory when it is first touched"),
    ("kernel", "what grows with the input: the computation itself"),
    ("gaps", "the caller's thread was on no core, or the accelerator had nothing to do"),
    ("unexplained", "what is left of the measured time; below 0 where too much was found"),
)
"""What the parts of a call are."""


def name(run: str, case: str) -> str:
    """Return what the page of a case's profiles is called."""
    return f"{run}.{stem(case)}".replace("+", "_")


def public(documents: Documents) -> list[dict[str, Any]]:
    """Return documents as pages may show them: with the ``stem`` of their files, and names that tell sides apart."""
    shown = []
    for document in documents:
        name = redaction.text(document["implementation"])
        label = f"{name}, {document['side']}" if document.get("side") else name
        shown.append(redaction.document(document) | {"implementation": label, "stem": stem_of(document)})
    return shown


def shares(documents: Documents) -> pd.DataFrame:
    """Return a row for each implementation and part: ``share`` in per cent of ``seconds``."""
    rows = [
        (document["implementation"], part, share, document["seconds"])
        for document in measured(documents)
        for part, share in document["shares"].items()
    ]
    return pd.DataFrame(rows, columns=["implementation", "part", "share", "seconds"])


def timelines(documents: Documents) -> pd.DataFrame:
    """Return a row for each moment at which an implementation's allocated ``bytes`` changed, ``at`` seconds."""
    rows = [(document["implementation"], *point) for document in measured(documents) for point in document["memory"]]
    return pd.DataFrame(rows, columns=["implementation", "at", "bytes"])


def measured(documents: Documents) -> list[Mapping[str, Any]]:
    """Return those that were profiled."""
    return [document for document in documents if document["status"] == "ok"]


def operators(document: Mapping[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the operators that take most: name, dtypes, and calls, own time, whole time, bytes and GB/s."""
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    for row in document["operators"][:MOST_OPERATORS]:
        times = fmt.number(row["calls"]), fmt.seconds(row["self_seconds"]), fmt.seconds(row["total_seconds"])
        rows.append((row["name"], ", ".join(row["dtypes"]), (*times, fmt.size(row["bytes"]), fmt.number(row["gbps"]))))
    return rows


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else is known of a profile, as terms and texts."""
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
        unknown, count = f"not known: {counter['reason']}", f"{fmt.number(counter['value'], 4)} a call"
        facts.append((counter["name"], unknown if fmt.missing(counter["value"]) else count))
    facts += [(f"Proton: {name}", fmt.seconds(seconds)) for name, seconds in document["proton"]["kernels"].items()]
    return [(term, text) for term, text in facts if text != fmt.MISSING]
