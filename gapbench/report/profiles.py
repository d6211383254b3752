"""Prepare the profiles of a case for their page: documents of `gapbench.store.profiles` as rows and texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from gapbench.report import redaction
from gapbench.report.text import dominant as dominant
from gapbench.store.profiles import stem, stem_of

Documents = Sequence[Mapping[str, Any]]


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
