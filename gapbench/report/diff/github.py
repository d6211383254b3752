"""Format a diff for GitHub: a Markdown comment on a pull request, within the size limit and with all names escaped.

For GitHub Actions also: annotations on stdout, and files for the job's summary and later steps.
"""

import itertools
import re
from pathlib import Path

from gapbench.analysis.compare import Diff, Row
from gapbench.errors import GapbenchError
from gapbench.report import plain_text
from gapbench.report.diff import lines
from gapbench.statistics.verdicts import Verdict

COMMENT_BYTES = 64_000
"""A comment has room for 65,536 characters; UTF-8 has at least as many bytes, and other text may be added."""

_OPEN = (*lines.RED, Verdict.FAILED_BASE, Verdict.CHANGED_DEFINITION, Verdict.REMOVED, Verdict.IMPROVED)
"""Verdicts whose rows are visible at once; the others are folded."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~@&$:])")
ANNOTATIONS = 10  # GitHub shows at most this many of each kind per step
SUMMARY_BYTES = 1024 * 1024  # GitHub does not show a larger step summary
_SENTENCES = 4  # of an explanation in an annotation: the summary and the largest findings
_WARNED = (Verdict.FAILED_BASE, Verdict.CHANGED_DEFINITION, Verdict.REMOVED)


def document(diff: Diff, limit: int = COMMENT_BYTES) -> str:
    """Return the Markdown in at most ``limit`` bytes; the least urgent rows that do not fit are counted."""
    rows, more = lines.listed(lines.by_relevance(diff))
    text = _document(diff, rows, more)
    kept = len(rows)
    while len(text.encode()) > limit and kept:
        kept = kept * 9 // 10
        text = _document(diff, rows[:kept], [f"{len(diff.rows) - kept} more rows do not fit here"])
    return text


def _document(diff: Diff, rows: list[Row], more: list[str]) -> str:
    groups = [(verdict, [*of_it]) for verdict, of_it in itertools.groupby(rows, lambda row: row.verdict)]
    notes = [*filter(None, (*diff.environment, *diff.notes, lines.remedy(diff)))]
    return plain_text.render(
        "diff.md.j2", diff=diff, groups=groups, notes=notes, more=more, open=_OPEN, lines=lines, escaped=escaped,
        line=_line,
    )  # fmt: skip


def escaped(text: str) -> str:
    """Escape ``text`` for Markdown: one line, without markup, links, mentions or HTML."""
    # a zero-width joiner after @ keeps names from being mentioned, whatever the backslash does
    return _SPECIAL.sub(r"\\\1", _line(text)).replace(r"\@", "@\u2060").replace(r"\<", "&lt;").replace(r"\&", "&amp;")


def _line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).split())


def render(diff: Diff) -> str:
    """Return the annotations, errors first; if there are too many, the last one counts the rest."""
    rows = lines.by_relevance(diff)
    # one annotation says why nothing was compared; more would repeat it
    mismatches = [row for row in rows if row.verdict is Verdict.ENVIRONMENT_MISMATCH]
    shown = [*lines.red(diff), *mismatches[:1], *(row for row in rows if row.verdict in _WARNED)]
    annotations = [_annotation(row) for row in shown]
    if (more := len(annotations) - ANNOTATIONS) > 0:
        rest = f"{more + 1} more rows changed or could not be compared: {lines.counts(diff)}"
        annotations[ANNOTATIONS - 1 :] = [f"::warning title=gapbench::{_data(rest)}"]
    return "\n".join([*annotations, *map(_data, filter(None, (lines.remedy(diff), lines.counts(diff))))])


def _annotation(row: Row) -> str:
    level = "error" if row.verdict in lines.RED else "warning"
    title = f"gapbench: {row.verdict}"
    if row.verdict is Verdict.ENVIRONMENT_MISMATCH:
        return f"::{level} title={_property(title)}::{_data(row.reason)}"
    message = f"{row.implementation} {row.case} {lines.condition(row)}"
    message += "" if row.ratio is None else f": {lines.change(row)} of the base's time"
    message += f"; {row.reason}" if row.reason else ""
    message += "".join(f"; {sentence}" for sentence in lines.sentences(row)[:_SENTENCES])
    message += f"; measure again: {lines.command(row)}" if row.verdict in lines.RED else ""
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(diff: Diff) -> str:
    """Return the Markdown for the step's summary, in at most `SUMMARY_BYTES`."""
    return document(diff, SUMMARY_BYTES)


def outputs(diff: Diff) -> str:
    """Return the step's outputs, one ``name=value`` per line: the count of each verdict, and both runs."""
    counts = {verdict.value: diff.summary.get(verdict, 0) for verdict in Verdict}
    values = {"base": diff.base.id, "head": diff.head.id, **counts}
    return "".join(f"{name}={value}\n" for name, value in values.items())


def write(diff: Diff, summary_path: str | None, output_path: str | None) -> None:
    """Append summary and outputs to the files that GitHub names; None leaves one out. Raises `GapbenchError`."""
    for path, content in ((summary_path, summary), (output_path, outputs)):
        if path:
            try:
                with Path(path).open("a", encoding="utf-8", newline="\n") as file:
                    file.write(content(diff))
            except OSError as error:
                raise GapbenchError(f"cannot write {path}: {error.strerror}; is this a GitHub job?") from error
