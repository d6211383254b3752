"""Which batch runs next: many short turns, each with one batch of every contender in a random order.

Noise on shared machines comes in spells of 10 ms to seconds in which everything slows down. Contenders that alternate
faster than that share each spell, and the ratio of neighbours cancels it; contenders timed one after the other do not.
The same schedule serves contenders in several processes: all know it, and each runs its own batches (see `relay`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from resource import RUSAGE_SELF, getrusage
from time import monotonic

from torch import Tensor

from gapbench.measuring.clocks import Clock
from gapbench.measuring.relay import ALONE, Peers
from gapbench.passes import Call

FEWEST_TURNS = 4
"""A round of slow calls ends soon, and another process is asked: rounds count, turns do not."""
MOST_TURNS = 1000
"""More turns make a round's median no better than more rounds would."""
_WARM_TURNS = 1
_MOST_WALL = 10
_SETTLING_SECONDS = 0.015
_FEW_FAULTS = 0.05


@dataclass(slots=True)
class Batches:
    """The timed batches of one round of one case, column by column."""

    contender: list[int] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    seconds_per_call: list[float] = field(default_factory=list)

    def add(self, contender: int, turn: int, position: int, calls: int, seconds: float) -> None:
        """Append one batch that took ``seconds`` as a whole."""
        self.contender.append(contender)
        self.turn.append(turn)
        self.position.append(position)
        self.calls.append(calls)
        self.seconds_per_call.append(seconds / calls)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is timed: the same call on each input of the rotation, and how many calls make a batch."""

    calls: Sequence[Call]
    batch_calls: int = 1


def calibrate(clock: Clock, calls: Sequence[Call], batch_seconds: float) -> tuple[Contender, float]:
    """Return the contender with a batch of about ``batch_seconds``, and the wall seconds that such a batch takes.

    The two differ where a clock does more than it counts (a flush before every call, say): then the batch is as long as
    takes ten times ``batch_seconds`` by the wall. Doubles the batch until it is half as long as wanted, which warms
    the code up as well; the faster of two batches counts, because the first calls of a process are slow.
    """
    count = clock.whole(1, len(calls))
    while True:
        seconds, wall = min(_timed(clock, calls, count) for _ in range(2))
        if seconds >= batch_seconds / 2 or wall >= _MOST_WALL * batch_seconds / 2:
            break
        count = clock.whole(2 * count, len(calls))
    share = min(batch_seconds / seconds if seconds > 0 else 1.0, _MOST_WALL * batch_seconds / wall if wall > 0 else 1.0)
    wanted = clock.whole(max(1, round(count * share)), len(calls))
    return Contender(calls, wanted), max(seconds, wall) * wanted / count


def settle(clock: Clock, one: Contender, seconds: float = _SETTLING_SECONDS) -> None:
    """Run batches until one of them touches hardly any new memory, for ``seconds`` at most.

    A forked process copies every page that it writes to for the first time. Where many modules were loaded before the
    fork, free memory is scattered, and a call of 5 µs took 14 in its first thousand repetitions.
    """
    deadline = monotonic() + seconds
    faults = -1
    while faults < 0 or (faults > _FEW_FAULTS * one.batch_calls and monotonic() < deadline):
        before = getrusage(RUSAGE_SELF).ru_minflt
        clock.batch(one.calls, one.batch_calls)
        faults = getrusage(RUSAGE_SELF).ru_minflt - before


def _timed(clock: Clock, calls: Sequence[Call], count: int) -> tuple[float, float]:
    """Return a batch's seconds by the clock and by the wall."""
    began = monotonic()
    seconds, _ = clock.batch(calls, count)
    return seconds, monotonic() - began


def turns_within(slice_seconds: float, turn_seconds: float, most: int = MOST_TURNS) -> int:
    """Return how many turns to take in a slice of the budget, given what one takes."""
    return max(FEWEST_TURNS, min(most, int(slice_seconds / turn_seconds)))


def play(
    clock: Clock,
    contenders: Mapping[int, Contender],
    turns: int,
    rng: Random,
    announce: Callable[[int], None],
    batches: Batches,
    peers: Peers = ALONE,
) -> dict[int, Tensor]:
    """Take ``turns`` turns, add every batch to ``batches``, and return each contender's last output.

    ``announce(index)`` is told which contender, by its key in ``contenders``, runs next. The first turn warms the
    alternation up and is not kept. With ``peers``, whose ``rng`` must be in the same state, every contender's batches
    on all sides follow one another, the sides in a random order; each process runs its own.
    """
    first = batches.turn[-1] + 1 if batches.turn else 0
    outputs: dict[int, Tensor] = {}
    order = _order(sorted(contenders), peers.sides, turns, rng)
    for place in peers.own([side for _, _, side, _ in order]):
        turn, position, _, index = order[place]
        one = contenders[index]
        announce(index)
        seconds, outputs[index] = clock.batch(one.calls, one.batch_calls)
        if turn >= 0:
            batches.add(index, first + turn, position, one.batch_calls, seconds)
    return outputs


def _order(contenders: list[int], sides: int, turns: int, rng: Random) -> list[tuple[int, int, int, int]]:
    """Return every batch as (turn, position, side, contender)."""
    order = []
    for turn in range(-_WARM_TURNS, turns):
        batches = [
            (side, index)
            for index in rng.sample(contenders, len(contenders))
            for side in rng.sample(range(sides), sides)
        ]
        order += [(turn, position, side, index) for position, (side, index) in enumerate(batches)]
    return order
