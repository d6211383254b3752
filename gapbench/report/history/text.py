"""Trends over runs, for the terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.cases import Case
from gapbench.history import SHORTEST, Change, Difference, Point, Since, Trend, logs
from gapbench.report import format as fmt
from gapbench.report.text import plain_table

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 24
"""Runs that a trend shows, the newest."""
_LISTED = 40
"""Runs of a trend that are listed one by one, the newest, beside all that have a step."""
_FLAT = 0.02
"""Log times that differ less than this are drawn as one height."""
_NEW = "¦"


def _table(*headers: str) -> Table:
    return plain_table(*headers, whole=("implementation", "run", "commit"))


def sparkline(points: Sequence[Point]) -> str:
    """Draw the newest points as bars, slower is higher, with a mark wherever the environment changed."""
    points = points[-_SHOWN:]
    heights = logs(points)
    span = max(float(np.ptp(heights)), _FLAT)
    bars = ((heights - heights.min()) / span * (len(_BARS) - 1)).round().astype(int)
    return "".join((_NEW if p.environment else "") + _BARS[bar] for p, bar in zip(points, bars, strict=True))


def print_trends(trends: Sequence[Trend], console: Console | None = None) -> None:
    """Print how each trend went, its newest time, and its newest step."""
    console = console or Console()
    table = _table("case", "implementation", "trend", "newest", "÷ before")
    table.columns[2].min_width = max((len(sparkline(trend.points)) for trend in trends), default=0)
    for trend in trends:
        step = trend.changes[-1] if trend.changes else None
        drawn = Text(sparkline(trend.points))
        table.add_row(
            _case(trend),
            Text(trend.implementation).append(
                f"\n{fmt.count(len(trend.points))} {'run' if len(trend.points) == 1 else 'runs'}", style="dim"
            ),
            drawn.append(f"\n{_said(step) if step else _nothing(trend)}", style="dim"),
            fmt.seconds(trend.points[-1].seconds),
            "\n".join(_ratio(step)),
        )
    console.print(table)


def print_points(trend: Trend, console: Console | None = None) -> None:
    """Print the newest runs of a trend, and those with a step: their times, the environment's changes, the steps."""
    console = console or Console()
    console.print(Text(f"\n{trend.implementation} on {trend.case}, {_clock(trend)}", style="bold"))
    table = _table("run", "commit", "time", "95 % interval", "÷ before", "what happened")
    steps = {change.index: change for change in trend.changes}
    older = len(trend.points) - _LISTED
    for index, point in enumerate(trend.points):
        step = steps.get(index)
        if index < older and step is None:
            continue
        happened = [f"step, {step.cause}"] if step else []
        table.add_row(
            Text(point.run),
            Text((point.commit or fmt.MISSING)[:7]),
            fmt.seconds(point.seconds),
            fmt.seconds_interval(point.seconds, point.seconds_low, point.seconds_high),
            _ratio(step)[0],
            Text("; ".join([*happened, *point.environment])),
        )
    console.print(table)
    if older > 0:
        console.print(
            f"the newest {_LISTED} of {fmt.count(len(trend.points))} runs, and those with a step; --json has all",
            style="dim",
        )


def print_since(found: Since, console: Console | None = None) -> None:
    """Print what got slower since a run, worst first, then what got faster, then how much did neither."""
    console = console or Console()
    for title, differences in (("slower", found.slower), ("faster", found.faster)):
        if not differences:
            console.print(f"nothing got {title} since {found.run}")
            continue
        table = _table(title, "implementation", "÷ before", "95 % interval", "runs", "what changed")
        for one in differences:
            table.add_row(
                _case(one),
                Text(one.implementation),
                *_ratio(one),
                f"{one.runs_before} → {one.runs_after}",
                Text("; ".join([*one.causes, *one.environment])),
            )
        console.print(table)
    console.print(
        f"{found.unchanged} without a step since, {found.undecided} with less than the {2 * SHORTEST} runs that show "
        f"one, {found.absent} first measured later"
    )


def _case(one: Trend | Difference) -> Text:
    case = Case.from_id(one.case)
    said = Text(f"{'x'.join(map(str, case.shape))} {case.dtype}")
    notes = [case.operation if case.operation != "gap" else "", case.layout, case.device]
    notes += [case.pass_ if case.pass_ != "forward" else "", f"{case.threads} threads" if case.threads != 1 else ""]
    return said.append(f"\n{', '.join(filter(None, [*notes, _clock(one)]))}", style="dim")


def _clock(one: Trend | Difference) -> str:
    return f"{one.clock}, {one.memory} memory" if one.memory else one.clock


def _ratio(one: Change | Difference | None) -> tuple[str, str]:
    if one is None:
        return "", ""
    return fmt.ratio(one.ratio), fmt.ratio_interval(one.ratio, one.ratio_low, one.ratio_high)


def _said(step: Change) -> str:
    return f"{step.commit[:7] if step.commit else step.run}: {'; '.join([step.cause, *step.environment])}"


def _nothing(trend: Trend) -> str:
    return "too few runs to tell" if len(trend.points) < 2 * SHORTEST else ""
