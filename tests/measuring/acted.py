"""Rounds whose outcome is known: virtual time, no processes."""

from types import SimpleNamespace

import numpy as np

from gapbench.measuring import engine, policies
from gapbench.measuring.events import Qualified
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.store.records import NULL, Qualification


def result(seconds, clocks=("host",), turns=1):
    """Return a round in which contenders take what ``seconds`` says by index, the same in every turn."""
    batches = Batches()
    for turn in range(turns):
        for position, (index, value) in enumerate(seconds.items()):
            batches.add(index, turn, position, 1, value)
    calibration = {index: (1, value) for index, value in seconds.items()}
    return RoundResult(dict.fromkeys(clocks, batches), dict.fromkeys(clocks, calibration))


class Processes:
    """Acts `CaseProcesses`: contenders that are ok but for ``statuses``, by (side, case) or name."""

    def __init__(self, case_plan, plan, machine):
        self.case_plan, self.case, self.names = case_plan, case_plan.case, tuple(case_plan.specs)
        self.refused, self.qualifications, self.closed = set(), {}, False
        self._sides, self._machine = [side.name for side in plan.sides], machine

    @property
    def contenders(self):
        return tuple(
            index for index, qualification in sorted(self.qualifications.items()) if qualification.status == "ok"
        )

    def contender(self, index):
        return self._sides[index // len(self.names)], self.names[index % len(self.names)]

    def judge(self, index, status, reason=None, clock=None):
        side, name = self.contender(index)
        if clock is None:
            self.qualifications[index] = Qualification(status, reason)
        else:
            self.refused.add((clock, index))
        if side != NULL:
            yield Qualified(self.case, name, Qualification(status, reason), clock, side, self.case_plan.memory)

    def qualify(self):
        self._machine.now += self._machine.judging
        for index in range(len(self._sides) * len(self.names)):
            side, name = self.contender(index)
            statuses = self._machine.statuses
            yield from self.judge(index, statuses.get((side, self.case)) or statuses.get(name, "ok"))

    def measure(self, number, assignment):
        machine = self._machine
        machine.now += machine.overhead + assignment.slice_seconds
        if machine.failures.get(self.case):
            yield from self.judge(*machine.failures[self.case].pop())
            return None
        entries = assignment.contenders
        machine.played.append(SimpleNamespace(
            case=self.case, number=number, memory=self.case_plan.memory,
            by=[self.contender(index) for index in sorted(entries)],
            once=sorted(self.contender(index)[1] for index in assignment.once),
        ))  # fmt: skip
        return result({index: machine.seconds(self.case, *self.contender(index)) for index in sorted(entries)},
                      tuple(assignment.entries))  # fmt: skip

    def close(self):
        self.closed = True


class Machine:
    """What rounds would give: noise of ``spread`` a round, ``overhead`` seconds for each beside its turns.

    ``changes`` are ratios of head to base by case or name; ``times`` what implementations take beside 1; ``judging``
    the seconds to load and judge a case.
    """

    def __init__(
        self,
        monkeypatch,
        changes=None,
        spread=0.01,
        overhead=0.01,
        statuses=None,
        failures=None,
        times=None,
        judging=0.0,
    ):
        self.now, self.overhead, self.played, self.judging = 1000.0, overhead, [], judging
        self.statuses, self.failures, self._times = statuses or {}, failures or {}, times or {}
        self._changes, self._spread = changes or {}, spread
        self._rng = np.random.default_rng(0)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(policies, "time", clock)
        monkeypatch.setattr(engine, "time", clock)
        monkeypatch.setattr(engine, "Servers", lambda *_: self)
        monkeypatch.setattr(engine, "CaseProcesses", Processes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """End what was never begun."""

    def load(self, *_):
        """Stand in for the servers."""

    def seconds(self, case, side, name):
        change = self._changes.get(name, self._changes.get(case, 1.0)) if side == "head" else 1.0
        noise = np.exp(self._rng.normal(0, self._spread / 2**0.5))
        return float(1e-5 * self._times.get(name, 1.0) * change * noise)
