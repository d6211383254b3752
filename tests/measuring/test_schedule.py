from collections import Counter
from random import Random
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import schedule

CALL_SECONDS = [5e-6, 2e-4, 3e-3]


class FakeClock:
    """Virtual time: call k takes ``CALL_SECONDS[k]``, times a slowdown that spells of noise switch on and off."""

    name = "fake"

    def __init__(self, spell_batches=0):
        self.batches = []
        self.now = 0.0
        self._spell = spell_batches

    def whole(self, count, rotations):
        return count

    def batch(self, calls, count):
        slow = 2.0 if self._spell and len(self.batches) // self._spell % 2 else 1.0
        contender = calls[0]()
        seconds = CALL_SECONDS[contender] * count * slow
        self.now += seconds
        self.batches.append(contender)
        return seconds, torch.tensor(contender)


def contenders(count=3):
    return [lambda index=index: index for index in range(count)]


def play(turns=50, clock=None, calls=(100, 3, 1), seed=0, announce=lambda _: None):
    batches = schedule.Batches()
    timed = {index: schedule.Contender([call], calls[index]) for index, call in enumerate(contenders())}
    outputs = schedule.play(clock or FakeClock(), timed, turns, Random(seed), announce, batches)
    return batches, [outputs[index] for index in range(3)]


@pytest.mark.parametrize("contender", range(3))
def test_a_calibrated_batch_is_about_as_long_as_asked(contender):
    timed, seconds = schedule.calibrate(FakeClock(), [contenders()[contender]], 0.5e-3)
    assert seconds == pytest.approx(CALL_SECONDS[contender] * timed.batch_calls)
    assert timed.batch_calls == max(1, round(0.5e-3 / CALL_SECONDS[contender]))


def test_a_clock_that_does_more_than_it_counts_gets_shorter_batches(monkeypatch):
    """Ten times as much by the wall as by the clock, and batches of whole rotations of 4."""
    clock = FakeClock()
    clock.whole = lambda count, rotations: -(-count // rotations) * rotations
    monkeypatch.setattr(schedule, "monotonic", lambda: 40 * clock.now)
    timed, wall = schedule.calibrate(clock, [contenders()[0]] * 4, 0.5e-3)
    assert timed.batch_calls % 4 == 0
    assert wall == pytest.approx(40 * CALL_SECONDS[0] * timed.batch_calls)
    assert wall <= 10 * 0.5e-3 * 1.2


@given(st.integers(1, 60), st.integers())
def test_every_turn_has_one_batch_of_every_contender(turns, seed):
    batches, _ = play(turns, seed=seed)
    seen = Counter(zip(batches.turn, batches.contender, strict=True))
    assert seen == Counter({(turn, contender): 1 for turn in range(turns) for contender in range(3)})
    assert sorted(set(zip(batches.turn, batches.position, strict=True))) == [
        (t, p) for t in range(turns) for p in range(3)
    ]


def test_orders_are_random_and_reproducible():
    batches, _ = play(300)
    first = Counter(c for c, position in zip(batches.contender, batches.position, strict=True) if position == 0)
    assert all(60 <= first[contender] <= 140 for contender in range(3))
    assert batches.contender == play(300)[0].contender
    assert batches.contender != play(300, seed=1)[0].contender


def test_the_warming_turn_is_run_and_not_kept():
    clock = FakeClock()
    batches, _ = play(10, clock)
    assert len(clock.batches) == 33
    assert len(batches.turn) == 30
    assert min(batches.turn) == 0


def test_samples_are_seconds_per_call():
    batches, _ = play(5)
    for contender, seconds in zip(batches.contender, batches.seconds_per_call, strict=True):
        assert seconds == pytest.approx(CALL_SECONDS[contender])


def test_outputs_are_each_contenders_own_last():
    assert [int(output) for output in play()[1]] == [0, 1, 2]


def test_the_running_contender_is_announced_before_its_batch():
    clock, announced = FakeClock(), []
    play(10, clock, announce=announced.append)
    assert announced == clock.batches


def test_pairs_of_neighbours_see_through_spells_of_noise():
    batches, _ = play(200, FakeClock(spell_batches=50))
    import numpy as np

    log = {
        k: np.log([s for s, c in zip(batches.seconds_per_call, batches.contender, strict=True) if c == k])
        for k in (0, 1)
    }
    assert np.ptp(log[0]) > 0.6  # the spells are there
    ratio = np.exp(np.median(log[1] - log[0]))
    assert ratio == pytest.approx(CALL_SECONDS[1] / CALL_SECONDS[0], rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "turn", "expected"),
    [(1.0, 0.1, 10), (1.0, 10.0, schedule.FEWEST_TURNS), (9, 1e-3, schedule.MOST_TURNS)],
)
def test_turns_fill_the_slice_within_bounds(seconds, turn, expected):
    assert schedule.turns_within(seconds, turn) == expected


def settling(monkeypatch, faults, batch_calls=100, patience=1.0):
    """Return how many batches were run where batch after batch touches so many new pages."""
    clock, count = FakeClock(), [0]
    left = iter(faults)

    def getrusage(_):
        return SimpleNamespace(ru_minflt=count[0])

    def batch(calls, number):
        count[0] += next(left)
        clock.now += 0.3
        clock.batches.append(0)
        return 0.3, torch.zeros(())

    clock.batch = batch
    monkeypatch.setattr(schedule, "getrusage", getrusage)
    monkeypatch.setattr(schedule, "monotonic", lambda: clock.now)
    schedule.settle(clock, schedule.Contender([contenders()[0]], batch_calls), patience)
    return len(clock.batches)


def test_calls_settle_until_they_touch_hardly_any_new_memory(monkeypatch):
    assert settling(monkeypatch, [300, 40, 5, 300]) == 3  # 5 pages in 100 calls
    assert settling(monkeypatch, [0]) == 1


def test_calls_that_never_settle_are_not_waited_for(monkeypatch):
    assert settling(monkeypatch, [300] * 10) == 4  # a second of batches of 0.3


def test_sides_share_each_contenders_turn():
    """What two processes run between them is every batch once, a contender's sides after one another."""

    class Halves:
        sides = 2

        def __init__(self, side):
            self.side = side

        def own(self, owners):
            return (place for place, owner in enumerate(owners) if owner == self.side)

    taken = []
    for side in (0, 1):
        batches = schedule.Batches()
        timed = {index: schedule.Contender([call], 1) for index, call in enumerate(contenders())}
        schedule.play(FakeClock(), timed, 5, Random(3), lambda _: None, batches, Halves(side))
        rows = zip(batches.turn, batches.position, batches.contender, strict=True)
        taken += [(turn, position, contender, side) for turn, position, contender in rows]
    taken.sort()
    assert [(turn, position) for turn, position, *_ in taken] == [(t, p) for t in range(5) for p in range(6)]
    pairs = [(taken[place], taken[place + 1]) for place in range(0, len(taken), 2)]
    assert all(one[2] == other[2] and one[3] != other[3] for one, other in pairs)
    assert len({one[3] for one, _ in pairs}) == 2  # neither side is always first
