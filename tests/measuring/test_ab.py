"""The stages of an A/B measurement, with rounds whose outcome is known: virtual time, no processes."""

from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest

from gapbench.cases import Case
from gapbench.measuring import ab, duel, qualifying
from gapbench.measuring.engine import WorkerLost
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.qualifying import Qualified
from gapbench.measuring.rounds import Fault, RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.measuring.source import HERE
from gapbench.records import Qualification

CASES = [Case((1, channels, 8, 8)) for channels in range(8, 20)]


class Machine:
    """What rounds would give: ``changes`` by case or name (a ratio), noise of ``spread`` a round, a round in 50 ms."""

    def __init__(self, monkeypatch, changes=None, spread=0.01, seconds=0.05, statuses=None, fouls=None):
        self.now, self._seconds = 1000.0, seconds
        self._changes, self._spread = changes or {}, spread
        self._statuses, self._fouls = statuses or {}, fouls or {}
        self._rng = np.random.default_rng(0)
        self.played = []
        monkeypatch.setattr(ab.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(ab.duel, "measure", self.measure)
        monkeypatch.setattr(ab, "Template", lambda *_: nullcontext(self))
        monkeypatch.setattr(qualifying, "qualify", self.qualify)

    def wait_ready(self):
        """Stand in for the template."""

    def qualify(self, contests, effort, template, source, contender):
        for contest in contests:
            for name in contest.specs:
                status = self._statuses.get((contender, contest.case), "ok")
                yield Qualified(contest.case, name, Qualification(status), contender=contender)

    def measure(self, assignment, sides, patience):
        self.now += self._seconds
        if self._fouls.get(assignment.case):
            return self._fouls[assignment.case].pop()
        self.played.append((assignment.case, [side.contender for side in sides], assignment.specs))
        return {side.contender: self._result(assignment, side.contender) for side in sides}

    def _result(self, assignment, side):
        of_case = self._changes.get(assignment.case, 1.0)
        changes = [self._changes.get(spec, of_case) if side == "head" else 1.0 for spec in assignment.specs]
        count = len(changes)
        seconds = 1e-5 * np.array(changes) * np.exp(self._rng.normal(0, self._spread / 2**0.5, count))
        batches = Batches(list(range(count)), [0] * count, list(range(count)), [1] * count, seconds.tolist())
        return RoundResult(dict.fromkeys(assignment.entries, batches))


def measure(machine, cases=CASES, budget=60.0, specs=("pool",), margin=0.01, seed=0):
    contests = [Contest("ci", case, {name: name for name in specs}) for case in cases]
    events = list(ab.measure(contests, ab.Origin(HERE), ab.Origin(HERE), Effort(budget=budget, seed=seed), margin))
    (flagged,) = [event for event in events if isinstance(event, ab.Flagged)]
    return events, flagged


def bouts(events, case=None):
    found = [bout for event in events if isinstance(event, ab.Sweep) for bout in event.bouts]
    return [bout for bout in found if case in (None, bout.case)]


def test_what_did_not_change_rests_early_and_nothing_is_confirmed(monkeypatch):
    machine = Machine(monkeypatch, spread=0.005)
    events, flagged = measure(machine)
    assert flagged.rows == {}
    assert machine.now < 1000 + 30  # of 60 seconds
    assert {bout.case for bout in bouts(events)} == set(CASES)


def test_what_changed_is_measured_afresh_and_alone(monkeypatch):
    machine = Machine(monkeypatch, {CASES[3]: 1.05})
    events, flagged = measure(machine)
    ((row, first),) = flagged.rows.items()
    assert row.case == CASES[3]
    place = events.index(flagged)
    after = [bout for event in events[place:] if isinstance(event, ab.Sweep) for bout in event.bouts]
    fresh = [bout.round for bout in after if bout.case == CASES[3]]
    assert fresh == list(range(first, first + len(fresh)))
    assert len(fresh) >= 7
    assert [bout.round for bout in bouts(events, CASES[3])] == list(range(first + len(fresh)))


def test_a_small_change_gets_all_the_rounds_there_is_time_for(monkeypatch):
    small, large = CASES[0], CASES[1]
    machine = Machine(monkeypatch, {small: 1.018, large: 2.0}, spread=0.02)
    events, flagged = measure(machine)
    fresh = [bout for bout in bouts(events) if bout.round >= flagged.rows.get(_row(flagged, bout), 999)]
    confirming = Counter(bout.case for bout in fresh)
    assert confirming[small] > 3 * confirming[large] > 0


def _row(flagged, bout):
    return next((row for row in flagged.rows if row.case == bout.case), None)


def test_only_the_flagged_implementation_of_a_case_is_confirmed(monkeypatch):
    machine = Machine(monkeypatch, {"slower": 1.1})
    events, flagged = measure(machine, CASES[:1], specs=("pool", "slower"))
    assert [row.implementation for row in flagged.rows] == ["slower"]
    (first,) = flagged.rows.values()
    assert {bout.names for bout in bouts(events) if bout.round >= first} == {("slower",)}


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(CASES, 1.03)])
@pytest.mark.parametrize("spread", [0.01, 0.1])
def test_the_budget_is_kept(monkeypatch, changes, spread):
    machine = Machine(monkeypatch, changes, spread)
    measure(machine, budget=20.0)
    assert machine.now <= 1020 + 1  # or a round more of each case, or the fewest that can confirm


def test_with_too_little_time_every_case_still_gets_the_fewest_rounds(monkeypatch):
    events, _ = measure(Machine(monkeypatch, seconds=10.0), budget=1.0)
    assert set(Counter(bout.case for bout in bouts(events)).values()) >= {ab.FEWEST_ROUNDS}


def test_a_second_base_rides_along_in_a_random_quarter_of_the_cases(monkeypatch):
    chosen = []
    for seed in (0, 1):
        machine = Machine(monkeypatch)
        measure(machine, seed=seed)
        chosen.append({case for case, sides, _ in machine.played[: 8 * len(CASES)] if "null" in sides})
        assert len(chosen[-1]) == 3
    assert chosen[0] != chosen[1]


def test_confirming_rounds_have_a_witness_too(monkeypatch):
    machine = Machine(monkeypatch, {CASES[3]: 1.2})
    events, flagged = measure(machine)
    first = flagged.rows[_row(flagged, bouts(events, CASES[3])[0])]
    assert all("null" in bout.results for bout in bouts(events, CASES[3]) if bout.round >= first)


def test_who_fails_on_one_side_is_not_measured_and_the_rest_is(monkeypatch):
    machine = Machine(monkeypatch, statuses={("base", CASES[0]): "failed", ("head", CASES[1]): "wrong"})
    events, _ = measure(machine)
    assert {bout.case for bout in bouts(events)} == set(CASES[2:])


def test_a_side_that_turns_out_wrong_loses_its_case(monkeypatch):
    foul = duel.Foul("head", Fault(0, "wrong", "it lies"))
    events, _ = measure(Machine(monkeypatch, fouls={CASES[0]: [foul]}))
    (told,) = [e for e in events if isinstance(e, Qualified) and e.qualification.status != "ok"]
    assert (told.case, told.contender, told.qualification.status) == (CASES[0], "head", "wrong")
    assert not bouts(events, CASES[0])


@pytest.mark.parametrize(("deaths", "measured"), [(1, True), (2, False)])
def test_a_first_death_is_forgiven(monkeypatch, deaths, measured):
    fouls = [duel.Foul("null", Fault(0, "failed", "its process was killed by SIGKILL")) for _ in range(deaths)]
    events, _ = measure(Machine(monkeypatch, fouls={CASES[0]: fouls}), CASES[:1])
    assert [event.reason for event in events if isinstance(event, WorkerLost)] == [
        "base: its process was killed by SIGKILL"
    ]
    assert bool(bouts(events)) is measured
