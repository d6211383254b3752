"""Which batch runs next: many short turns, each with one batch of every contender in a random order.

Noise on shared machines comes in spells of 10 ms to seconds in which everything slows down. Contenders that alternate
faster than that share each spell, and the ratio of neighbours cancels it; contenders timed one after the other do not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from torch import Tensor

from gapbench.measuring.clocks import Clock
from gapbench.passes import Call

FEWEST_TURNS = 4
"""A round of slow calls ends soon, and another process is asked: rounds count, turns do not."""
MOST_TURNS = 1000
"""More turns make a round's median no better than more rounds would."""
_WARM_TURNS = 1
_MOST_WALL = 10


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
    the code up as well.
    """
    count = clock.whole(1, len(calls))
    while True:
        began = monotonic()
        seconds, _ = clock.batch(calls, count)
        wall = monotonic() - began
        if seconds >= batch_seconds / 2 or wall >= _MOST_WALL * batch_seconds / 2:
            break
        count = clock.whole(2 * count, len(calls))
    share = min(batch_seconds / seconds if seconds > 0 else 1.0, _MOST_WALL * batch_seconds / wall if wall > 0 else 1.0)
    wanted = clock.whole(max(1, round(count * share)), len(calls))
    return Contender(calls, wanted), max(seconds, wall) * wanted / count


def turns_within(slice_seconds: float, turn_seconds: float) -> int:
    """Return how many turns to take in a slice of the budget, given what one takes."""
    return max(FEWEST_TURNS, min(MOST_TURNS, int(slice_seconds / turn_seconds)))


def play(
    clock: Clock,
    contenders: Mapping[int, Contender],
    turns: int,
    rng: Random,
    announce: Callable[[int], None],
    batches: Batches,
) -> dict[int, Tensor]:
    """Take ``turns`` turns, add every batch to ``batches``, and return each contender's last output.

    ``announce(index)`` is told which contender, by its key in ``contenders``, runs next. The first turn warms the
    alternation up and is not kept.
    """
    first = batches.turn[-1] + 1 if batches.turn else 0
    outputs: dict[int, Tensor] = {}
    order = list(contenders)
    for turn in range(-_WARM_TURNS, turns):
        rng.shuffle(order)
        for position, index in enumerate(order):
            one = contenders[index]
            announce(index)
            seconds, outputs[index] = clock.batch(one.calls, one.batch_calls)
            if turn >= 0:
                batches.add(index, first + turn, position, one.batch_calls, seconds)
    return outputs
