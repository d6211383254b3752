"""A diff for GitHub Actions: annotations on stdout, and files for the job's summary and for later steps."""

from pathlib import Path

from gapbench.analysis.compare import Diff, Row
from gapbench.errors import GapbenchError
from gapbench.report.diff import lines, markdown
from gapbench.statistics.verdicts import Verdict

ANNOTATIONS = 10  # GitHub shows no more of each kind for a step
SUMMARY_BYTES = 1024 * 1024  # a larger step summary is not shown at all
_TOLD = 4  # sentences of an explanation in an annotation: the whole, and what makes most of it

_WARNED = (Verdict.FAILED_BASE, Verdict.CHANGED_DEFINITION, Verdict.REMOVED)


def render(diff: Diff) -> str:
    """Return the annotations, errors first; where there are more than fit, the last one counts the rest."""
    rows = lines.by_relevance(diff)
    # one annotation says why nothing was compared; three hundred would say no more
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
    message += "".join(f"; {sentence}" for sentence in lines.sentences(row)[:_TOLD])
    message += f"; measure again: {lines.command(row)}" if row.verdict in lines.RED else ""
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(diff: Diff) -> str:
    """Return the Markdown for the step's summary, at most `SUMMARY_BYTES` long."""
    return markdown.document(diff, SUMMARY_BYTES)


def outputs(diff: Diff) -> str:
    """Return the step's outputs, ``name=value`` a line: how many rows have each verdict, and both runs."""
    counts = {verdict.value: diff.summary.get(verdict, 0) for verdict in Verdict}
    values = {"base": diff.base.id, "head": diff.head.id, **counts}
    return "".join(f"{name}={value}\n" for name, value in values.items())


def write(diff: Diff, summary_path: str | None, output_path: str | None) -> None:
    """Append to the files that GitHub names, where it does; other steps' lines in them are kept."""
    for path, content in ((summary_path, summary), (output_path, outputs)):
        if path:
            try:
                with Path(path).open("a", encoding="utf-8", newline="\n") as file:
                    file.write(content(diff))
            except OSError as error:
                raise GapbenchError(f"cannot write {path}: {error.strerror}; is this a GitHub job?") from error
