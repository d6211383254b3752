"""A diff in the formats of ``--format``: each a function from the diff to the text for stdout."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from gapbench.compare import Diff
from gapbench.git import Git
from gapbench.report.diff import github, markdown, table
from gapbench.run import Run

_CASE = (
    "case", "implementation", "clock", "verdict", "ratio", "ratio_low", "ratio_high", "p_value", "rounds", "reason",
    "explanation", "memory",
)  # fmt: skip


def document(diff: Diff) -> str:
    """Return the JSON document (a contract: its keys are what other tools read); what was not measured is null."""
    document = {
        "schema": 1,
        "base": _side(diff.base),
        "head": _side(diff.head),
        "margin": diff.margin,
        "summary": diff.summary,
        "cases": [{name: getattr(row, name) for name in _CASE} | {"reason": row.reason or None} for row in diff.rows],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _side(run: Run) -> dict[str, Any]:
    git = run.git or Git()
    side = {"run": run.id, "commit": git.commit, "branch": git.branch, "dirty": git.dirty}
    return {**side, "tag": run.tag, "started": run.started}


FORMATS: Mapping[str, Callable[[Diff], str]] = {
    "table": table.render,
    "markdown": markdown.render,
    "json": document,
    "github": github.render,
}
