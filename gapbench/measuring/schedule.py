"""Which batch runs next: many short turns, each with one batch of every contender in a random order.

Noise on shared machines comes in spells of 10 ms to seconds in which everything slows down. Contenders that alternate
faster than that share each spell, and the ratio of neighbours cancels it; contenders timed one after the other do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from torch import Tensor

from gapbench.measuring.clocks import Clock

Call = Callable[[], Tensor]

FEWEST_TURNS = 8
MOST_TURNS = 1000
"""More turns make a round's median no better than more rounds would."""
_WARM_TURNS = 1


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


def calibrate(clock: Clock, call: Call, batch_seconds: float) -> tuple[int, float]:
    """Return how many calls make a batch of about ``batch_seconds``, and the seconds that such a batch takes.

    Doubles the batch until it is at least half as long as wanted, which warms the code up as well.
    """
    calls = 1
    while (seconds := clock.batch(call, calls)[0]) < batch_seconds / 2:
        calls *= 2
    wanted = max(1, round(calls * batch_seconds / seconds))
    return wanted, seconds * wanted / calls


def turns_within(slice_seconds: float, turn_seconds: float) -> int:
    """Return how many turns to take in a slice of the budget, given what one takes."""
    return max(FEWEST_TURNS, min(MOST_TURNS, int(slice_seconds / turn_seconds)))


def play(
    clock: Clock,
    calls: Sequence[Call],
    batch_calls: Sequence[int],
    turns: int,
    rng: Random,
    announce: Callable[[int], None],
    batches: Batches,
) -> list[Tensor]:
    """Take ``turns`` turns, add every batch to ``batches``, and return each contender's last output.

    ``announce(index)`` is told which contender runs next. The first turn warms the alternation up and is not kept.
    """
    first = batches.turn[-1] + 1 if batches.turn else 0
    outputs: dict[int, Tensor] = {}
    order = list(range(len(calls)))
    for turn in range(-_WARM_TURNS, turns):
        rng.shuffle(order)
        for position, contender in enumerate(order):
            announce(contender)
            seconds, outputs[contender] = clock.batch(calls[contender], batch_calls[contender])
            if turn >= 0:
                batches.add(contender, first + turn, position, batch_calls[contender], seconds)
    return [outputs[index] for index in range(len(calls))]
