"""What the events of a measurement add up to, while its rounds go to the store."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from gapbench.analysis import summary
from gapbench.machine import environment
from gapbench.measuring import engine
from gapbench.measuring.plan import Contest
from gapbench.store.records import BASE, NULL, SLOWER, THIS, Qualification
from gapbench.store.run import Warning
from gapbench.store.writer import RunWriter
from gapbench.workloads.cases import Case

BATCH_COLUMNS = ("turn", "position", "calls", "seconds_per_call", "page_faults")
"""Columns of `records.SAMPLES` that are those of `protocol.Batches`."""

_SLOWED = 1.1
"""Clocks know how much longer a fixed piece of work takes to about 3 %."""


@dataclass(slots=True)
class Ledger:
    """What is known so far of a run's contenders, and of its rounds as a whole.

    ``said`` is among its warnings. What is measured ``elsewhere`` is not judged by the state of this machine.
    """

    elsewhere: bool = False
    qualifications: dict[tuple[str, Case, str, str, str | None], Qualification] = field(default_factory=dict)
    stopped_by: dict[tuple[Case, str], str] = field(default_factory=dict)
    raced: set[tuple[Case, str, str, str]] = field(default_factory=set)
    joules: dict[tuple[Case, str], float] = field(default_factory=dict)
    timed_seconds: float = 0.0
    said: list[Warning] = field(default_factory=list)
    _preparations: dict[str, list[dict[str, float | None]]] = field(default_factory=lambda: defaultdict(list))
    _slowdowns: list[float] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _before: environment.Snapshot = field(default_factory=environment.snapshot)

    def judge(self, qualified: engine.Qualified) -> None:
        """Take in what was found of an implementation; the last word counts."""
        key = qualified.contender, qualified.case, qualified.memory, qualified.implementation, qualified.clock
        self.qualifications[key] = qualified.qualification

    def lose(self, lost: engine.WorkerLost) -> None:
        """Take in that a worker died."""
        evidence = (
            f"{lost.case.id}: a worker was lost in round {lost.round} while it ran {lost.implementation} "
            f"({lost.reason}); the round was measured again by another"
        )
        self.said.append(Warning("workers", evidence, "look into it if it happens twice"))

    def separate(self, separated: engine.SidesSeparated) -> None:
        """Take in that two sides have processes of their own."""
        evidence = f"{separated.case.id}: base and head were measured in processes of their own: {separated.reason}"
        self.said.append(Warning("sides", evidence, "smaller changes are found where they can share one"))

    def enter(self, measured: engine.RoundMeasured) -> pd.DataFrame:
        """Take in a round, and return its samples with the columns of `records.SAMPLES`, but for the run."""
        result = measured.result
        columns: dict[str, list[object]] = defaultdict(list)
        for clock, batches in result.batches.items():
            self.timed_seconds += batches.timed_seconds
            self._preparations[clock].append(dict(result.preparations.get(clock, {})))
            contenders = [measured.contender(index) for index in batches.contender]
            columns["clock"] += [clock] * len(contenders)
            columns["contender"] += [side for side, _ in contenders]
            columns["implementation"] += [name for _, name in contenders]
            for name in BATCH_COLUMNS:
                columns[name] += getattr(batches, name)
        self._slowdowns += result.slowdowns.values()
        of_all = {"round": measured.round, "process": measured.process, **result.telemetry}
        return pd.DataFrame({"case": measured.case.id, "memory": measured.memory, **columns, **of_all})

    def outcomes(self, contests: Sequence[Contest], contender: str = THIS) -> list[summary.Outcome]:
        """Return what became of a contender's implementations, those that were judged; null is judged as base."""
        outcomes = []
        judged_as = BASE if contender == NULL else contender
        for contest, name, clock in _rows(contests):
            case, memory = contest.key
            of_all = self.qualifications.get((judged_as, case, memory, name, None))
            if of_all is None:
                continue
            found = self.qualifications.get((judged_as, case, memory, name, clock), of_all)
            found = replace(found, energy_joules=self.joules.get((case, name)))
            stopped_by = self.stopped_by.get((case, memory)) if found.status == "ok" else None
            if stopped_by and (case, memory, name, clock) in self.raced:
                stopped_by = SLOWER
            reference = contest.reference if contender == THIS else None
            outcomes.append(
                summary.Outcome(
                    contest.suite, case, name, clock, found, stopped_by, reference, contender, memory=memory
                )
            )
        return outcomes

    def close(self, writer: RunWriter, samples: pd.DataFrame, results: pd.DataFrame, **fields: Any) -> None:
        """Complete the run, with what is to be known of its measuring; ``fields`` are more fields of `Run`."""
        here: list[Warning] = []
        ranked = samples[samples["contender"] == THIS]
        if not self.elsewhere:
            here = environment.warnings(self._before, environment.snapshot(), writer.run.machine, _telemetry(samples))
        writer.finish(
            results,
            load_after=None if self.elsewhere else environment.load(),
            warnings=(
                *writer.run.notes,
                *here,
                *self.warnings(),
                *summary.above_ceilings(results, writer.run.ceilings),
                *summary.outlying_rounds(ranked),
                *summary.uneven(ranked),
            ),
            clocks=self.clocks(),
            wall_seconds=round(time.monotonic() - self._started, 3),
            timed_seconds=round(self.timed_seconds, 3),
            **fields,
        )

    def clocks(self) -> dict[str, dict[str, float | None]]:
        """Return what each clock found out about itself: the median over rounds, null where it has no such thing."""
        found = {}
        for clock, rounds in self._preparations.items():
            columns = pd.DataFrame(rounds, dtype=float)
            found[clock] = {str(name): None if math.isnan(m) else float(m) for name, m in columns.median().items()}
        return found

    def warnings(self) -> list[Warning]:
        """Return what happened to this run that its numbers do not tell."""
        slowed = [one for one in self._slowdowns if one > _SLOWED]
        if not slowed:
            return self.said
        evidence = (
            f"in {len(slowed)} of {len(self._slowdowns)} rounds the device took up to {max(slowed):.2f} times as long "
            "for the same work as at the round's start: it was throttled"
        )
        return [*self.said, Warning("throttling", evidence, "cool it or lock a lower clock, and run again")]


def _rows(contests: Sequence[Contest]) -> Iterator[tuple[Contest, str, str]]:
    return ((one, name, clock) for one in contests for name in one.specs for clock in one.clocks)


def _telemetry(samples: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how the machine was in each round."""
    rounds = samples.drop_duplicates("process")[["throttle", "steal"]]
    return [{str(column): value for column, value in row.items()} for row in rounds.to_dict("records")]
