"""Progress on stderr, for terminals: drawn only between rounds, so that no batch times the drawing."""

import time
from collections.abc import Sequence

import rich.progress
from rich.console import Console

from gapbench.measuring import events
from gapbench.measuring.plan import CasePlan, Effort


class Progress:
    """A progress bar with the time left, as a context manager; silent unless stderr is a terminal."""

    def __init__(
        self, plans: Sequence[CasePlan], effort: Effort, console: Console | None = None, sides: int = 1
    ) -> None:
        console = console or Console(stderr=True)
        self._effort = effort
        self._started = time.monotonic()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TextColumn("{task.fields[left]}"),
            console=console,
            auto_refresh=False,  # a drawing thread would run during a batch
            transient=True,
            disable=not console.file.isatty(),  # whatever FORCE_COLOR asks for
        )
        self._task = self._bar.add_task("loading torch", total=effort.budget, left="")
        self._to_qualify = sides * sum(len(case_plan.specs) for case_plan in plans)

    def __enter__(self) -> "Progress":
        self._bar.start()
        self._bar.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def observe(self, event: events.Event) -> None:
        """Show what just happened."""
        match event:
            case events.Ready():
                description = "checking results"
            case events.Qualified():
                self._to_qualify -= 1
                description = f"checking results, {max(self._to_qualify, 0)} to go"
            case events.CeilingsMeasured():
                description = "measured the machine's limits"
            case events.RoundMeasured(case=case):
                description = f"round {event.round + 1} of {case.id}"
            case events.WorkerLost(case=case, implementation=name):
                description = f"{name} ended its worker, trying again: {case.id}"
            case events.CaseDone(case=case, stopped_by=reason):
                description = f"{case.id} done ({reason})"
            case events.Warned():
                description = "collected warnings"
            case events.SidesSeparated(case=case):
                description = f"the sides need processes of their own: {case.id}"
            case events.Raced(case=case, implementation=name):
                description = f"{name} is clearly slower: {case.id}"
            case events.Flagged(rows):
                description = f"measuring {len(rows)} again" if rows else "nothing to confirm"
        elapsed = time.monotonic() - self._started
        left = max(self._effort.budget - elapsed, 0)
        self._bar.update(
            self._task, completed=elapsed, description=description, left=f"about {left:.0f} s left", refresh=True
        )
