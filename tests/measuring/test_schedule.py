from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import schedule
from gapbench.measuring.protocol import Batches
from gapbench.measuring.schedule import FEWEST_TURNS, MOST_TURNS, Turns

CALL_SECONDS = [5e-6, 2e-4, 3e-3]


class FakeClock:
    """Virtual time: call k takes ``CALL_SECONDS[k]``, times a slowdown that spells of noise switch on and off."""

    name = "fake"
    device_class = None
    uncounted_calls = 0
    held_seconds = 0.0
    sm_clock_mhz = None

    def __init__(self, spell_batches=0):
        self.batches = []
        self.now = 0.0
        self._spell = spell_batches

    def select(self, contender):
        pass

    def whole(self, count, rotations):
        return count

    def at_copy(self, calls, copy):
        return calls

    def batch(self, calls, count):
        slow = 2.0 if self._spell and len(self.batches) // self._spell % 2 else 1.0
        contender = calls[0]()
        seconds = CALL_SECONDS[contender] * count * slow
        self.now += seconds
        self.batches.append(contender)
        return seconds, torch.tensor(contender)


CALLS = {index: [lambda index=index: index] for index in range(3)}
LENGTHS = {0: 100, 1: 3, 2: 1}


def play(turns=50, clock=None, seed=0, begin=lambda _: None):
    """Let three implementations take all of so many turns."""
    batches, outputs = Batches(), []
    steps = schedule.order(Turns(turns, dict.fromkeys(CALLS, 1)), 0, turns, 3, Random(seed))

    def keep(step, output):
        outputs.append((step, output))

    schedule.run_turns(clock or FakeClock(), iter(steps), CALLS, LENGTHS, begin, batches, keep)
    return batches, outputs


# How long batches are


@pytest.mark.parametrize("contender", range(3))
def test_a_calibrated_batch_is_about_as_long_as_asked_or_has_five_calls(contender):
    count, seconds = schedule.calibrate(FakeClock(), CALLS[contender], 0.5e-3)
    assert seconds == pytest.approx(CALL_SECONDS[contender] * count)
    fewest = min(5, int(6e-3 / CALL_SECONDS[contender]))
    assert count == max(fewest, round(0.5e-3 / CALL_SECONDS[contender])) >= 1


@given(st.floats(1e-7, 1.0), st.floats(1e-4, 1e-2))
def test_batches_are_as_long_as_asked_wherever_calls_are_short_enough(call, wanted):
    clock = FakeClock()
    clock.batch = lambda _, count: (call * count, torch.zeros(()))
    count, _ = schedule.calibrate(clock, CALLS[0], wanted)
    if 5 * call <= 6e-3:
        assert count == max(5, round(wanted / call))
    else:
        assert count >= 1
        assert count * call <= max(wanted + call / 2, 6e-3, call)


def test_a_clock_that_does_more_than_it_counts_gets_shorter_batches(monkeypatch):
    """Ten times as much by the wall as by the clock, and batches of whole rotations of 4."""
    clock = FakeClock()
    clock.whole = lambda count, rotations: -(-count // rotations) * rotations
    monkeypatch.setattr(schedule, "monotonic", lambda: 40 * clock.now)
    count, wall = schedule.calibrate(clock, CALLS[0] * 4, 0.5e-3)
    assert count % 4 == 0
    assert wall == pytest.approx(40 * CALL_SECONDS[0] * count)
    assert wall <= 10 * 0.5e-3 * 1.2


# Which turns there are, and who takes part in them


@dataclass(frozen=True)
class Planned:
    """Turns that were planned, and what for; ``calibration`` is of ``implementations`` on some sides."""

    calibration: dict
    implementations: int
    seconds: float
    most: int = MOST_TURNS
    once: frozenset = frozenset()
    turns: Turns = field(init=False)

    def __post_init__(self):
        turns = Turns.within(self.seconds, self.calibration, self.implementations, self.most, self.once)
        object.__setattr__(self, "turns", turns)

    def order(self, seed=0):
        """Return all batches, of two halves."""
        rng, half = Random(seed), self.turns.count - self.turns.count // 2
        first = schedule.order(self.turns, 0, half, self.implementations, rng)
        return first + schedule.order(self.turns, half, self.turns.count - half, self.implementations, rng)

    def taken(self):
        """Return in which turns each contender takes part."""
        results = {index: [] for index in self.calibration}
        for batch in self.order():
            results[batch.contender].append(batch.turn)
        return results


@st.composite
def planned(draw, once=True):
    implementations, sides = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    lengths = st.floats(1e-5, 1e-2)
    calibration = {index: (1, draw(lengths)) for index in range(implementations * sides)}
    names = draw(st.sets(st.integers(0, implementations - 1), max_size=implementations - 1)) if once else set()
    all_sides = frozenset(index for index in calibration if index % implementations in names)
    most = draw(st.sampled_from([FEWEST_TURNS, 40, MOST_TURNS]))
    return Planned(calibration, implementations, draw(st.floats(1e-3, 0.3)), most, all_sides)


@given(planned())
def test_everyone_takes_the_fewest_turns_at_least_and_who_is_raced_takes_one(plan):
    for index, turns in plan.taken().items():
        assert len(turns) == 1 if index in plan.once else len(turns) >= FEWEST_TURNS


@given(planned(once=False))
def test_turns_fill_the_slice_within_bounds(plan):
    """And little more: who is owed the fewest turns takes less than twice as many."""
    assert FEWEST_TURNS <= plan.turns.count <= plan.most
    spent = sum(plan.calibration[batch.contender][1] for batch in plan.order())
    longest = sum(seconds for _, seconds in plan.calibration.values())
    assert spent < plan.seconds + 2 * FEWEST_TURNS * longest


@given(planned(once=False))
def test_only_who_is_far_slower_than_the_fastest_takes_part_less_often(plan):
    shortest = min(seconds for _, seconds in plan.calibration.values())
    taken = plan.taken()
    for index, turns in taken.items():
        sides = [other for other in taken if other % plan.implementations == index % plan.implementations]
        longest = max(plan.calibration[other][1] for other in sides)
        if longest < 2 * 4 * shortest:
            assert len(turns) == plan.turns.count
        else:
            rarely = longest / (4 * shortest) + 1
            assert len(turns) >= max(FEWEST_TURNS, int(plan.turns.count / rarely))


@given(planned(), st.integers())
def test_sides_of_an_implementation_are_neighbours_in_the_same_turns(plan, seed):
    taken = plan.taken()
    for index, turns in taken.items():
        assert turns == taken[index % plan.implementations]
    by_turn = {}
    for batch in plan.order(seed):
        by_turn.setdefault(batch.turn, []).append(batch)
    sides = len(plan.calibration) // plan.implementations
    for batches in by_turn.values():
        assert [batch.position for batch in batches] == list(range(len(batches)))
        names = [batch.contender % plan.implementations for batch in batches]
        assert names == [name for name in names[::sides] for _ in range(sides)]
        assert len({batch.contender for batch in batches}) == len(batches)


@pytest.mark.parametrize(
    ("seconds", "turn", "expected"), [(1.0, 0.1, 10), (1.0, 10.0, FEWEST_TURNS), (9, 1e-3, MOST_TURNS)]
)
def test_turns_of_equals_are_what_fits(seconds, turn, expected):
    assert Turns.within(seconds, {0: (1, turn / 2), 1: (1, turn / 2)}, 2).count == expected


def test_a_slow_one_leaves_the_turns_to_the_fast_and_costs_no_more_than_four_times_theirs():
    slow = Planned({0: (1, 1e-3), 1: (1, 40e-3)}, 2, 1.0)
    taken = {index: len(turns) for index, turns in slow.taken().items()}
    assert taken[0] == slow.turns.count == 215  # 1 s / (1 + 40 / 11) ms
    assert taken[1] == pytest.approx(taken[0] / 11, abs=1)


@given(planned(once=False))
def test_rare_turns_do_not_keep_step_with_the_places_of_the_input(plan):
    """Inputs lie in two or four copies, taken one after the other: an even number could meet half of them."""
    cut_short = plan.turns.count // FEWEST_TURNS
    assert all(every % 2 or every == cut_short for every in plan.turns.every.values())


@given(planned())
def test_a_turn_has_one_place_and_neighbouring_turns_mostly_share_it(plan):
    """Whoever is first on a place meets it cold; and every place there is gets its turns."""
    copies = {}
    for batch in plan.order():
        assert copies.setdefault(batch.turn, batch.copy) == batch.copy
    changes = [copies[turn] for turn in sorted(copies)]
    assert changes == sorted(changes)
    assert len(set(changes)) <= 32
    if plan.turns.count >= 16 and len(copies) == plan.turns.count:
        assert len(set(changes)) >= 16


def test_orders_are_random_and_reproducible():
    batches, _ = play(300)
    first = Counter(c for c, position in zip(batches.contender, batches.position, strict=True) if position == 0)
    assert all(60 <= first[contender] <= 140 for contender in range(3))
    assert batches.contender == play(300)[0].contender
    assert batches.contender != play(300, seed=1)[0].contender


def test_neither_side_is_always_first():
    order = schedule.order(Turns(200, dict.fromkeys(range(4), 1)), 0, 200, 2, Random(0))
    first = Counter(item.contender for item in order if item.position in (0, 2))
    assert all(60 <= first[contender] <= 140 for contender in range(4))


# Taking turns


@given(st.integers(1, 60), st.integers())
def test_every_turn_has_one_batch_of_every_contender(turns, seed):
    batches, _ = play(turns, seed=seed)
    observed = Counter(zip(batches.turn, batches.contender, strict=True))
    assert observed == Counter({(turn, contender): 1 for turn in range(turns) for contender in range(3)})
    assert sorted(set(zip(batches.turn, batches.position, strict=True))) == [
        (t, p) for t in range(turns) for p in range(3)
    ]


def test_samples_are_seconds_per_call():
    batches, _ = play(5)
    for contender, seconds in zip(batches.contender, batches.seconds_per_call, strict=True):
        assert seconds == pytest.approx(CALL_SECONDS[contender])


def test_batches_are_timed_within_their_contenders_range():
    told = []

    @contextmanager
    def range_of(index):
        told.append(index)
        yield
        told.append(-index)

    clock = FakeClock()
    timed = clock.batch
    clock.batch = lambda *arguments: (told.append("timed"), timed(*arguments))[1]
    steps = [schedule.Batch(0, 0, 2, 0), schedule.Batch(0, 1, 1, 0)]
    schedule.run_turns(clock, iter(steps), CALLS, LENGTHS, lambda _: None, Batches(), lambda *_: None, range_of)
    assert told == [2, "timed", -2, 1, "timed", -1]


def test_page_faults_are_per_call_those_included_that_are_not_timed(monkeypatch):
    clock, faults = FakeClock(), iter(range(0, 10_000, 12))
    clock.uncounted_calls = 1
    monkeypatch.setattr(schedule.memory, "page_faults", lambda: next(faults))
    batches, _ = play(3, clock)
    expected = [12 / (LENGTHS[contender] + 1) for contender in batches.contender]
    assert batches.page_faults == pytest.approx(expected)


def test_the_output_of_every_batch_is_offered_with_its_step():
    batches, outputs = play(5)
    offered = [(step.turn, step.contender, int(output)) for step, output in outputs]
    assert offered == [(turn, index, index) for turn, index in zip(batches.turn, batches.contender, strict=True)]


def test_the_running_contender_is_announced_before_its_batch():
    clock, announced = FakeClock(), []
    play(10, clock, begin=announced.append)
    assert announced == clock.batches


def test_pairs_of_neighbours_see_through_spells_of_noise():
    batches, _ = play(200, FakeClock(spell_batches=50))
    log = {
        k: np.log([s for s, c in zip(batches.seconds_per_call, batches.contender, strict=True) if c == k])
        for k in (0, 1)
    }
    assert np.ptp(log[0]) > 0.6  # the spells are there
    ratio = np.exp(np.median(log[1] - log[0]))
    assert ratio == pytest.approx(CALL_SECONDS[1] / CALL_SECONDS[0], rel=0.01)


def prefaulted(monkeypatch, faults, batch_calls=100, patience=1.0):
    """Return how many batches were run where batch after batch touches so many new pages."""
    clock, count = FakeClock(), [0]
    left = iter(faults)

    def batch(calls, number):
        count[0] += next(left)
        clock.now += 0.3
        clock.batches.append(0)
        return 0.3, torch.zeros(())

    clock.batch = batch
    monkeypatch.setattr(schedule.memory, "page_faults", lambda: count[0])
    monkeypatch.setattr(schedule, "monotonic", lambda: clock.now)
    schedule.prefault(clock, CALLS[0], batch_calls, patience)
    return len(clock.batches)


def test_calls_are_repeated_until_they_touch_hardly_any_new_memory(monkeypatch):
    assert prefaulted(monkeypatch, [300, 40, 1, 300]) == 3  # one page in 25 calls
    assert prefaulted(monkeypatch, [0]) == 1


def test_calls_that_touch_new_memory_for_ever_are_not_waited_for(monkeypatch):
    assert prefaulted(monkeypatch, [300] * 10) == 4  # a second of batches of 0.3
