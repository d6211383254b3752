"""A diff for the terminal: what needs a person first, what did not change as a count."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.compare import Diff, Row
from gapbench.report import format as fmt
from gapbench.report.diff import lines
from gapbench.report.text import plain_table
from gapbench.verdicts import Verdict

_STYLES = {Verdict.IMPROVED: "bold green"} | dict.fromkeys(lines.RED, "bold red")


def render(diff: Diff) -> str:
    """Return the table as the terminal at hand shows it, ending in the count of every verdict."""
    return rendered(diff, Console())


def rendered(diff: Diff, console: Console) -> str:
    """Return the table as ``console`` would show it."""
    shown, more = lines.listed([row for row in lines.by_relevance(diff) if row.verdict not in lines.FOLDED])
    red = lines.red(diff)
    with console.capture() as capture:
        for name, run in (("base", diff.base), ("head", diff.head)):
            console.print(Text(f"{name} {lines.side(run)}"))
        for sentence in (*diff.environment, *diff.notes):
            console.print(Text(sentence, style="yellow"))
        if shown:
            console.print(_table(shown))
        for sentence in filter(None, (*more, lines.remedy(diff))):
            console.print(Text(sentence), soft_wrap=True)
        for row in red:
            for index, sentence in enumerate(lines.sentences(row)):
                console.print(Text(f"  {sentence}" if index else f"{row.case}: {sentence}"), soft_wrap=True)
        if red:
            console.print(Text("measure again:"))
        for row in red:
            console.print(Text(f"  {lines.command(row)}"), soft_wrap=True)  # commands are there to be copied
        console.print(Text(f"{lines.counts(diff)}; margin {diff.margin * 100:g} %"), soft_wrap=True)
    return capture.get().rstrip("\n")


def _table(rows: list[Row]) -> Table:
    table = plain_table("verdict", "case", "head ÷ base", "95 % interval", whole=["verdict"])
    for row in rows:
        what = Text(f"{row.implementation}, {lines.condition(row)}\n{row.case}")
        if row.reason:
            what.append(f"\n{row.reason}", style="dim")
        table.add_row(
            Text(row.verdict, style=_STYLES.get(row.verdict, "")),
            what,
            "" if row.ratio is None else fmt.ratio(row.ratio),
            fmt.ratio_interval(row.ratio, row.ratio_low, row.ratio_high),
        )
    return table
