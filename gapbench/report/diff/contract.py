"""The JSON document of a diff (a contract: its keys are what other tools read)."""

import json
from collections.abc import Mapping
from typing import Any

from gapbench.compare import Diff

_CASE = (
    "case", "implementation", "clock", "verdict", "ratio", "ratio_low", "ratio_high", "p_value", "rounds", "reason",
    "explanation", "memory",
)  # fmt: skip


def render(diff: Diff) -> str:
    """Return the document; what was not measured is null."""
    document = {
        "schema": 1,
        "base": _side(diff.base),
        "head": _side(diff.head),
        "margin": diff.margin,
        "summary": diff.summary,
        "cases": [{name: getattr(row, name) for name in _CASE} | {"reason": row.reason or None} for row in diff.rows],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _side(run: Mapping[str, Any]) -> dict[str, Any]:
    git = run.get("git") or {}
    return {
        "run": run["run"],
        "commit": git.get("commit"),
        "branch": git.get("branch"),
        "dirty": git.get("dirty"),
        "tag": run.get("tag"),
        "started": run.get("started"),
    }
