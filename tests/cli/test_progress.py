import io

from rich.console import Console

from gapbench.cli.progress import Progress
from gapbench.measuring import events
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.store.records import Qualification
from gapbench.workloads.cases import Case

CASE = Case((1, 8, 4, 4))
EVENTS = [
    events.Ready(),
    events.Qualified(CASE, "mean", Qualification()),
    events.RoundMeasured(CASE, 0, 0, ("mean",), RoundResult({"host": Batches()})),
    events.WorkerLost(CASE, "mean", 1, "killed"),
    events.CaseDone(CASE, "target"),
]


def draw(is_terminal):
    out = io.StringIO()
    out.isatty = lambda: is_terminal
    console = Console(file=out, force_terminal=True, width=100)
    with Progress([CasePlan("test", CASE, {"mean": "mean"})], Effort(), console) as progress:
        drawn = []
        for event in EVENTS:
            before = len(out.getvalue())
            progress.observe(event)
            drawn.append(out.getvalue()[before:])
    return out.getvalue(), drawn, progress


def test_every_event_is_shown_with_the_time_left():
    _, drawn, _ = draw(is_terminal=True)
    said = ("checking", "0 to go", f"round 1 of {CASE.id}", "mean ended its worker", "done (target)")
    for shown, expected in zip(drawn, said, strict=True):
        assert expected in shown
        assert "s left" in shown


def test_nothing_is_drawn_into_a_log_though_colours_are_forced():
    assert draw(is_terminal=False)[0] == ""


def test_nothing_is_drawn_between_events():
    _, _, progress = draw(is_terminal=True)
    assert progress._bar.live.auto_refresh is False
