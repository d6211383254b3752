"""What besides the code may have changed between two runs."""

from collections.abc import Mapping
from typing import Any

from gapbench.history.order import commit

Document = Mapping[str, Any]


def environment(document: Document, device: str) -> dict[str, str | None]:
    """Return what a run was measured on, as far as it matters to ``device``; None for what its ``run.json`` lacks."""
    machine, versions = document.get("machine") or {}, document.get("versions") or {}
    found = {"CPU": machine.get("cpu"), "torch": versions.get("torch")}
    kind, _, index = device.partition(":")
    if kind != "cpu":
        gpus = machine.get("gpus") or []
        gpu = gpus[int(index or 0)] if int(index or 0) < len(gpus) else {}
        found |= {"GPU": gpu.get("name"), "driver": gpu.get("driver")}
    return found


def changed(before: Document, after: Document, device: str) -> list[str]:
    """Return what is known to have changed, in words: ``torch 2.12.0 → 2.13.0``."""
    old, new = environment(before, device), environment(after, device)
    return [
        f"{name} {old[name]} → {new[name]}"
        for name in old
        if old[name] is not None and new[name] is not None and old[name] != new[name]
    ]


def cause(before: Document, after: Document, device: str) -> str:
    """Return what can have made times step between two neighbouring runs, as far as they say.

    ``environment`` if that changed, whatever the code did; ``unknown`` if a run does not say its environment or commit;
    ``unexplained`` between clean runs of one commit; otherwise ``code``.
    """
    if changed(before, after, device):
        return "environment"
    if None in (*environment(before, device).values(), *environment(after, device).values()):
        return "unknown"
    if commit(before) is None or commit(after) is None:
        return "unknown"
    dirty = any(document["git"].get("dirty") is not False for document in (before, after))
    return "code" if dirty or commit(before) != commit(after) else "unexplained"
