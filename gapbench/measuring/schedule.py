"""Schedule batches: many short turns, each with one batch of every contender in a random order.

Noise comes in spells of 10 ms to seconds. Contenders that alternate faster share each spell, and their ratio cancels
it. Contenders in several processes have the same schedule, of which each runs its own batches (`side_sync`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from random import Random
from time import monotonic

from torch import Tensor

from gapbench.machine.devices import Cpu
from gapbench.measuring import counts, memory
from gapbench.measuring.clocks import Clock
from gapbench.measuring.protocol import Batches, Calibration
from gapbench.workloads.passes import Call

FEWEST_TURNS = 4  # few, so that a round of slow calls ends soon: rounds, not turns, are replicated
MOST_TURNS = 1000  # beyond this, more rounds are worth more than more turns
_MOST_WALL = 10
_FEWEST_CALLS, _LONGEST = 5, 6e-3
"""A batch has at least five calls where those take at most 6 ms: its first call is not counted, and should not be half
of it."""
_SETTLING_SECONDS = 0.015
_FEW_FAULTS = 0.05
_COPY_CHANGES = 16
_SLOW = 4  # a contender whose batches take at least this many times as long as the shortest takes fewer turns


def calibrate(clock: Clock, calls: Sequence[Call], batch_seconds: float) -> tuple[int, float]:
    """Return how many calls make a batch of about ``batch_seconds``, and the wall seconds that such a batch takes.

    The two differ where a clock does more than it counts, such as a flush before every call; then a batch takes at most
    ten times ``batch_seconds`` of wall time. Doubles the batch until it is half as long as wanted, which warms up the
    code as well. Of two batches the faster counts, because the first calls of a process are slow.
    """
    count = clock.whole(1, len(calls))
    while True:
        # of either, on its own: the first of two batches may be launched twice, or be captured
        seconds, wall, held = map(min, zip(*(_timed(clock, calls, count) for _ in range(2)), strict=True))
        if seconds >= batch_seconds / 2 or wall >= _MOST_WALL * batch_seconds / 2:
            break
        count = clock.whole(2 * count, len(calls))
    share = min(batch_seconds / seconds if seconds > 0 else 1.0, _MOST_WALL * batch_seconds / wall if wall > 0 else 1.0)
    fewest = min(_FEWEST_CALLS, int(_LONGEST * count / seconds)) if seconds > 0 else 1
    wanted = clock.whole(max(1, fewest, round(count * share)), len(calls))
    return wanted, (max(seconds, wall) + held) * wanted / count


def prefault(clock: Clock, calls: Sequence[Call], count: int, seconds: float = _SETTLING_SECONDS) -> None:
    """Run quarters of a batch until calls cause hardly any page faults, for ``seconds`` at most.

    A forked process copies every page at its first write: calls of 5 µs took 14 µs in their first 1,000 repetitions.
    """
    deadline = monotonic() + seconds
    count = clock.whole(max(1, count // 4), len(calls))
    faults = -1
    while faults < 0 or (faults > _FEW_FAULTS * count and monotonic() < deadline):
        before = memory.page_faults()
        clock.batch(calls, count)
        faults = memory.page_faults() - before


def _timed(clock: Clock, calls: Sequence[Call], count: int) -> tuple[float, float, float]:
    """Return a batch's seconds by the clock, by the wall apart from delays of the device, and of these delays."""
    began = monotonic()
    seconds, _ = clock.batch(calls, count)
    return seconds, max(seconds, monotonic() - began - clock.held_seconds), clock.held_seconds


@dataclass(frozen=True, slots=True)
class Turns:
    """The number of turns of a round; contender i takes part in every ``every[i]``-th of them."""

    count: int
    every: Mapping[int, int]

    @property
    def stretch(self) -> int:
        """The number of consecutive turns that use one copy of the input.

        The first contender finds another copy cold: one a turn made the first of two sides 6 to 9 % slower on 3 MB.
        """
        return max(1, self.count // _COPY_CHANGES)

    @classmethod
    def within(
        cls,
        slice_seconds: float,
        calibration: Calibration,
        implementations: int,
        most: int = MOST_TURNS,
        once: Collection[int] = (),
    ) -> "Turns":
        """Plan the turns of ``slice_seconds``: fewer for those far slower than the fastest, one if in ``once``."""
        slice_seconds -= sum(calibration[index][1] for index in once)
        batch_seconds = {index: seconds for index, (_, seconds) in calibration.items() if index not in once}
        shortest = min(batch_seconds.values())
        longest: dict[int, float] = {}
        for index, seconds in batch_seconds.items():
            longest[index % implementations] = max(seconds, longest.get(index % implementations, 0.0))
        # Odd, so that a contender meets all copies of the input.
        rare = {name: max(1, int(seconds / (_SLOW * shortest)) | 1) for name, seconds in longest.items()}
        cost = sum(seconds / rare[index % implementations] for index, seconds in batch_seconds.items())
        count = max(FEWEST_TURNS, min(most, int(slice_seconds / cost)))
        every = {index: min(rare[index % implementations], count // FEWEST_TURNS) for index in batch_seconds}
        return cls(count, {index: every.get(index, count) for index in calibration})


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of the order: its turn, its position in the turn, and the number of the input copy that it uses."""

    turn: int
    position: int
    contender: int
    copy: int


def order(turns: Turns, first: int, count: int, implementations: int, rng: Random) -> list[Batch]:
    """Return the batches of ``count`` turns from ``first`` on: implementations, then their sides, in random orders."""
    sides: dict[int, list[int]] = {}
    for index in sorted(turns.every):
        sides.setdefault(index % implementations, []).append(index)
    names = sorted(sides)
    batches = []
    for turn in range(first, first + count):
        taking_part = [
            index
            for name in rng.sample(names, len(names))
            if turn % turns.every[sides[name][0]] == name % turns.every[sides[name][0]]
            for index in rng.sample(sides[name], len(sides[name]))
        ]
        copy = turn // turns.stretch
        batches += [Batch(turn, position, index, copy) for position, index in enumerate(taking_part)]
    return batches


def run_turns(
    clock: Clock,
    steps: Iterator[Batch],
    calls: Mapping[int, Sequence[Call]],
    lengths: Mapping[int, int],
    begin: Callable[[int], None],
    batches: Batches,
    keep: Callable[[Batch, Tensor], None],
    range_of: Callable[[int], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> None:
    """Run the batches of ``steps`` and add each to ``batches``.

    Calls ``begin(contender)`` before each batch, times it within ``range_of(contender)``, then calls ``keep`` with its
    last output, which is dropped at once, so that all contenders have the same free memory.
    """
    # A cold clock would refuse the empty calls that show the harness's own share.
    counted_clock = clock.device_class is Cpu and not clock.cold
    counting = counts.Batches(clock, counts.instructions() if counted_clock else None)
    for step in steps:
        index, count = step.contender, lengths[step.contender]
        begin(index)
        clock.select(index)
        before, counted = memory.page_faults(), counting.begin()
        with range_of(index):
            seconds, output = clock.batch(clock.at_copy(calls[index], step.copy), count)
        instructions = counting.per_call(counted, count)
        faults = (memory.page_faults() - before) / (count + clock.uncounted_calls)
        batches.add(index, step.turn, step.position, count, seconds, faults, clock.sm_clock_mhz, instructions)
        keep(step, output)
        del output
