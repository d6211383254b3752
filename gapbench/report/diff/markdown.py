"""A diff as a comment on a pull request: GitHub's Markdown, within its limit on size, safe against any name."""

import re

from gapbench.analysis.compare import Diff, Row
from gapbench.report.diff import lines
from gapbench.statistics.verdicts import Verdict

COMMENT_BYTES = 64_000
"""A comment has room for 65,536 characters; bytes of UTF-8 are never fewer, and other text may join."""

_OPEN = (*lines.RED, Verdict.FAILED_BASE, Verdict.CHANGED_DEFINITION, Verdict.REMOVED, Verdict.IMPROVED)
"""Verdicts that are read at once; the others are a click away."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~@&$:])")


def document(diff: Diff, limit: int = COMMENT_BYTES) -> str:
    """Return the Markdown in at most ``limit`` bytes: rows that have no room are counted, the least pressing first."""
    rows, more = lines.listed(lines.by_relevance(diff))
    text = _document(diff, rows, more)
    kept = len(rows)
    while len(text.encode()) > limit and kept:
        kept = kept * 9 // 10
        text = _document(diff, rows[:kept], [f"{len(diff.rows) - kept} more rows have no room here"])
    return text


def _document(diff: Diff, rows: list[Row], more: list[str]) -> str:
    sides = [f"{name} {escaped(lines.side(run)[:300])}" for name, run in (("base", diff.base), ("head", diff.head))]
    notes = filter(None, (*diff.environment, *diff.notes, lines.remedy(diff)))
    parts = [f"**gapbench: {lines.counts(diff)}**", "<br>".join(sides), *map(escaped, notes)]
    for verdict in Verdict:
        if of_it := [row for row in rows if row.verdict is verdict]:
            parts += _section(verdict, of_it, diff.summary[verdict])
    parts += map(escaped, more)
    parts.append(f"Margin {diff.margin * 100:g} %; ratios are head ÷ base, above 1 is slower, with 95 % intervals.")
    return "\n\n".join(parts) + "\n"


def _section(verdict: Verdict, rows: list[Row], count: int) -> list[str]:
    table = ["| implementation | case | clock | head ÷ base | why |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [row.implementation, row.case, lines.condition(row), lines.change(row), row.reason]
        table.append(f"| {' | '.join(map(escaped, cells))} |")
    body = ["\n".join(table)]
    if verdict in lines.RED:
        for row in rows:
            if why := lines.sentences(row):
                findings = [f"- {escaped(sentence)}" for sentence in why[1:]]
                body.append("\n".join([f"{escaped(row.case)}: {escaped(why[0])}", "", *findings]))
        again = f"    {_line(lines.command(*rows))}"  # indented code needs no escapes
        body += ["Measure again:", again]
    if verdict in _OPEN:
        return [f"### {verdict}", *body]
    return [f"<details><summary>{count} {verdict}</summary>", *body, "</details>"]


def escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is: on one line, without markup, links, mentions or HTML."""
    # a zero-width joiner after @ keeps names from being mentioned, whatever the backslash does
    return _SPECIAL.sub(r"\\\1", _line(text)).replace(r"\@", "@\u2060").replace(r"\<", "&lt;").replace(r"\&", "&amp;")


def _line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).split())
