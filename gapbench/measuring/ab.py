"""The parent's side of an A/B measurement: screen every case, then measure afresh what seems to have changed.

Rounds go where they are needed: cases that are clearly unchanged rest, what seems to have changed gets rounds of its
own, what is still open gets the rest of the time. A third side, base once more, rides along in a
random quarter of the cases: what is found there cannot be a change. Like `engine.measure`, this writes and prints
nothing.
"""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random

import gapbench
from gapbench.measuring import duel, qualifying
from gapbench.measuring.duel import Bout, Side
from gapbench.measuring.engine import Ready, WorkerLost
from gapbench.measuring.meeting import Meeting, Row
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.qualifying import Qualified
from gapbench.measuring.source import Source
from gapbench.measuring.template import Template
from gapbench.records import BASE, HEAD, NULL
from gapbench.two_stages import fewest_to_confirm, rounds_to_confirm
from gapbench.verdicts import LEVEL, smallest_paired

FEWEST_ROUNDS = 8
"""Fewest rounds of the first look."""
_SCREEN_SHARE = 0.6
_LOOK_EVERY = 8
_MOST_ROUNDS = 200
_MOST_CONFIRMING = 100
_NULL_SHARE = 0.25
_TURNS = 60
"""A round's value scattered by 4.5, 3.0 and 2.1 % (median of 72 rows) over its first 5, 10 and 20 turns: as the root of
their number, so more turns pay as long as a process costs more than they do."""
_SLICE_SECONDS = 0.2
_MALLOC = {"mmap_threshold": 1 << 30, "trim_threshold": 1 << 30, "top_pad": 1 << 28, "hugetlb": 1}
STEADY_MEMORY = {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in _MALLOC.items())}
"""glibc keeps what is freed, and asks for huge pages: whether a temporary of some megabytes meets mapped memory or page
faults is otherwise drawn anew by every process, and made its time scatter by 30 %. Other C libraries ignore it."""

BATCH_SECONDS = 0.25e-3
"""Shorter than `run`'s: the sooner the sides alternate, the less of a spell of noise do they not share."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a side comes from: its source, its interpreter, and the folder where that one finds gapbench."""

    source: Source
    python: str = sys.executable
    harness: Path = Path(gapbench.__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A round of several cases was measured."""

    bouts: tuple[Bout, ...]


@dataclass(frozen=True, slots=True)
class Flagged:
    """The first look is over; these rows' rounds from the number given on are fresh ones."""

    rows: Mapping[Row, int]


Event = Ready | Qualified | WorkerLost | Sweep | Flagged


def measure(contests: Sequence[Contest], base: Origin, head: Origin, effort: Effort, margin: float) -> Iterator[Event]:
    """Measure every contest on both sides and yield events; closing the generator ends all processes.

    ``margin`` is a share: a change within it is none. What fails on a side is told, and the rest measured.
    """
    deadline = time.monotonic() + effort.budget
    with contextlib.ExitStack() as stack:
        sides = start_sides(stack, qualifying.preload(contests), base, head)
        yield Ready()
        meetings = {contest.case: Meeting(contest, margin) for contest in contests}
        for side in sides[:2]:
            for qualified in qualifying.qualify(contests, effort, side.template, side.source, side.contender):
                yield qualified
                meetings[qualified.case].qualify(qualified)
        yield from Tournament(list(meetings.values()), sides, effort, deadline).play()


def start_sides(stack: contextlib.ExitStack, preload: Sequence[str], base: Origin, head: Origin) -> tuple[Side, ...]:
    """Start one template for both sides, so that they differ in nothing else; two where the interpreters differ."""
    templates: dict[str, Template] = {}
    for origin in (base, head):
        if origin.python not in templates:
            template = Template(preload, origin.python, origin.harness, STEADY_MEMORY)
            templates[origin.python] = stack.enter_context(template)
    for template in templates.values():
        template.wait_ready()
    origins = {BASE: base, HEAD: head, NULL: base}
    return tuple(Side(name, origin.source, templates[origin.python]) for name, origin in origins.items())


class Tournament:
    """All cases' rounds, stage by stage."""

    def __init__(self, meetings: list[Meeting], sides: Sequence[Side], effort: Effort, deadline: float) -> None:
        self._meetings, self._sides, self._effort, self._deadline = meetings, sides, effort, deadline
        self._rng = Random(effort.seed)

    def play(self) -> Iterator[Event]:
        """Screen, confirm, and use what is left of the time."""
        screened = time.monotonic() + _SCREEN_SHARE * max(0.0, self._deadline - time.monotonic())
        yield from self._until(screened, self._meetings, max(FEWEST_ROUNDS, self._effort.rounds))
        flagged = {row: meeting for meeting in self._meetings for row in meeting.flag()}
        yield Flagged({row: meeting.rounds for row, meeting in flagged.items()})
        if flagged:
            yield from self._confirm(flagged)
        yield from self._until(self._deadline, [one for one in self._meetings if one.undecided()], 0)

    def _confirm(self, flagged: Mapping[Row, Meeting]) -> Iterator[Event]:
        """Measure what was flagged afresh: so many rounds as were settled before the first of them."""
        meetings = list(dict.fromkeys(flagged.values()))
        level = LEVEL / 2 / len(flagged)
        affordable = int((self._deadline - time.monotonic()) / sum(one.seconds for one in meetings))
        most = max(fewest_to_confirm(level, smallest_paired), min(affordable, _MOST_CONFIRMING))
        planned: dict[Meeting, int] = {}
        for row, one in flagged.items():
            wanted = min(most, rounds_to_confirm(one.evidence(row), level) or most)
            planned[one] = max(wanted, planned.get(one, 0))
        for one in meetings:
            one.confirming = True
        witnesses = self.witnesses(meetings)
        for number in range(max(planned.values())):
            yield from self.sweep([one for one in meetings if number < planned[one]], witnesses)
        for one in meetings:
            one.confirming = False

    def _until(self, deadline: float, meetings: list[Meeting], fewest: int) -> Iterator[Event]:
        """Sweep over the cases that are open until the deadline, ``fewest`` times at least."""
        witnesses = self.witnesses(meetings)
        open_ = [one for one in meetings if one.playing()]
        for number in range(_MOST_ROUNDS):
            cost = sum(one.seconds for one in open_)
            if not open_ or (number >= fewest and time.monotonic() + cost > deadline):
                return
            yield from self.sweep(open_, witnesses)
            if number + 1 >= fewest and (number + 1) % _LOOK_EVERY == 0:
                for one in open_:
                    one.rest()
            open_ = [one for one in open_ if one.playing()]

    def witnesses(self, meetings: Sequence[Meeting]) -> set[Meeting]:
        """Choose the cases in which the hidden copy of base takes part."""
        return set(self._rng.sample(meetings, min(len(meetings), ceil(_NULL_SHARE * len(meetings)))))

    def sweep(self, meetings: Iterable[Meeting], witnesses: set[Meeting]) -> Iterator[Event]:
        """Measure one round of each case, in a random order."""
        bouts = []
        meetings = list(meetings)
        for meeting in self._rng.sample(meetings, len(meetings)):
            sides = self._sides if meeting in witnesses else self._sides[:2]
            while meeting.playing():
                started = time.monotonic()
                outcome = self._bout(meeting, sides)
                if isinstance(outcome, Bout):
                    meeting.record(outcome, time.monotonic() - started)
                    bouts.append(outcome)
                    break
                yield from meeting.blame(outcome)
        if bouts:
            yield Sweep(tuple(bouts))

    def _bout(self, meeting: Meeting, sides: Sequence[Side]) -> Bout | duel.Foul:
        assignment = meeting.assignment(self._rng.getrandbits(32), _SLICE_SECONDS, BATCH_SECONDS, _TURNS)
        patience = self._effort.patience + 10 * _SLICE_SECONDS + meeting.patience
        found = duel.measure(assignment, sides, patience)
        if isinstance(found, duel.Foul):
            return found
        return Bout(meeting.case, meeting.rounds, meeting.lineup(), found)
