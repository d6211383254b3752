"""Measure into the store: the one way from a plan to a stored run, for the command line and for pytest alike."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from gapbench import environment, records, store, summary
from gapbench.cases import Case
from gapbench.measuring import engine
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.rounds import RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.operations import builtin, is_user_spec
from gapbench.records import Qualification

_BATCH_COLUMNS = ("turn", "position", "calls", "seconds_per_call")
_PLANNED = ("suite", "specs", "clocks", "reference")
_DESCRIBED = ("label", "weight")
_SLOWED = 1.1
"""Clocks know how much longer a fixed piece of work takes to about 3 %."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A stored run: its frames, and whether it was cut short."""

    run: dict[str, Any]
    samples: pd.DataFrame
    results: pd.DataFrame
    winners: pd.DataFrame
    interrupted: bool


def begin(
    target: store.Store,
    contests: Sequence[Contest],
    effort: Effort,
    argv: Sequence[str],
    tag: str | None = None,
    notes: Sequence[str] = (),
) -> store.RunWriter:
    """Create a run in ``target``, described by its plan and environment. Nothing has been measured yet.

    ``notes`` are sentences that belong to the run's warnings.
    """
    described = environment.describe(contests[0].case.device)
    return target.create(
        {
            "run": store.new_run_id((described["git"] or {}).get("commit")),
            "started": store.timestamp(),
            "argv": list(argv),
            "tag": tag,
            "suites": sorted({contest.suite for contest in contests}),
            "seed": effort.seed,
            **described,
            "settings": asdict(effort),
            "plan": [
                {
                    "case": one.case.id,
                    **{name: getattr(one.case, name) for name in _DESCRIBED},
                    **{name: getattr(one, name) for name in _PLANNED},
                }
                for one in contests
            ],
            "snippets": _snippets(contests),
            "load_before": environment.load(),
            "load_after": None,
            "ceilings": None,
            "notes": list(notes),
            "warnings": [*notes, *environment.warnings(environment.snapshot(), None, described)],
        }
    )


def _snippets(contests: Sequence[Contest]) -> dict[str, str]:
    """Return what a person would write for each implementation, for reports; plug-ins do not say before they run."""
    specs = {name: spec for one in contests for name, spec in one.specs.items()}
    own = {name: f"{name}(x)" for name, spec in specs.items() if is_user_spec(spec)}
    return own | {name: one.snippet for name, spec in specs.items() if (one := builtin(spec)) is not None}


def plan_of(run: Mapping[str, Any]) -> tuple[list[Contest], Effort]:
    """Return what `begin` wrote down of a run's plan."""
    contests = []
    for one in run["plan"]:
        case = replace(Case.from_id(one["case"]), **{name: one[name] for name in _DESCRIBED})
        contests.append(Contest(one["suite"], case, dict(one["specs"]), tuple(one["clocks"]), one["reference"]))
    return contests, Effort(**run["settings"])


def own_implementations(run: Mapping[str, Any]) -> set[str]:
    """Return the names of the run's implementations that came from a user's file."""
    return {name for one in run["plan"] for name, spec in one["specs"].items() if is_user_spec(spec)}


@dataclass(slots=True)
class _Ledger:
    """What the events of a run add up to."""

    qualifications: dict[tuple[Case, str, str | None], Qualification] = field(default_factory=dict)
    stopped_by: dict[Case, str] = field(default_factory=dict)
    timed_seconds: float = 0.0
    preparations: dict[str, list[dict[str, float | None]]] = field(default_factory=lambda: defaultdict(list))
    slowdowns: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def enter(self, event: engine.Event, writer: store.RunWriter) -> None:
        match event:
            case engine.Qualified(case, implementation, qualification, clock):
                self.qualifications[case, implementation, clock] = qualification
            case engine.RoundMeasured():
                for clock, batches in event.result.batches.items():
                    pairs = zip(batches.calls, batches.seconds_per_call, strict=True)
                    self.timed_seconds += sum(calls * seconds for calls, seconds in pairs)
                    self.preparations[clock].append(dict(event.result.preparations.get(clock, {})))
                self.slowdowns += event.result.slowdowns.values()
                writer.append(_samples(event))
            case engine.WorkerLost(case, implementation, number, reason):
                self.lost.append(
                    f"{case.id}: a worker was lost in round {number} while it ran {implementation} ({reason}); the "
                    "round was measured again by another; look into the implementation if it happens twice"
                )
            case engine.CaseDone(case, stopped_by):
                self.stopped_by[case] = stopped_by

    def outcomes(self, contests: Sequence[Contest]) -> list[summary.Outcome]:
        outcomes = []
        for contest, name, clock in _rows(contests):
            of_all = self.qualifications.get((contest.case, name, None))
            if of_all is None:
                continue
            qualification = self.qualifications.get((contest.case, name, clock), of_all)
            stopped_by = self.stopped_by.get(contest.case) if qualification.status == "ok" else None
            outcomes.append(
                summary.Outcome(contest.suite, contest.case, name, clock, qualification, stopped_by, contest.reference)
            )
        return outcomes

    def clocks(self) -> dict[str, dict[str, float | None]]:
        """Return what each clock found out about itself: the median over rounds, null where it has no such thing."""
        found = {}
        for clock, rounds in self.preparations.items():
            columns = pd.DataFrame(rounds, dtype=float)
            found[clock] = {str(name): None if math.isnan(m) else float(m) for name, m in columns.median().items()}
        return found

    def warnings(self) -> list[str]:
        """Return what happened to this run that its numbers do not tell."""
        slowed = [one for one in self.slowdowns if one > _SLOWED]
        if not slowed:
            return self.lost
        return [
            *self.lost,
            f"in {len(slowed)} of {len(self.slowdowns)} rounds the device took up to {max(slowed):.2f} times as long "
            "for the same work as at the round's start: it was throttled; cool it or lock a lower clock, and run again",
        ]


def _rows(contests: Sequence[Contest]) -> Iterator[tuple[Contest, str, str]]:
    return ((one, name, clock) for one in contests for name in one.specs for clock in one.clocks)


def record(
    writer: store.RunWriter,
    contests: Sequence[Contest],
    effort: Effort,
    observe: Callable[[engine.Event], None] = lambda _event: None,
) -> Recording:
    """Measure ``contests`` and store every round as it ends; ``observe`` is told each event.

    Ctrl-C ends the measuring and keeps what was measured: the run stays open and can be resumed. Rounds that
    ``writer`` already has are not measured again.
    """
    ledger = _Ledger()
    started = time.monotonic()
    before = environment.snapshot()
    interrupted = False
    try:
        for event in engine.measure(contests, effort, _earlier(writer.samples())):
            ledger.enter(event, writer)
            observe(event)
    except KeyboardInterrupt:
        interrupted = True
    samples = writer.samples()
    results = summary.results(samples, ledger.outcomes(contests))
    if interrupted:
        writer.interrupt(results)
    else:
        writer.finish(
            results,
            load_after=environment.load(),
            warnings=writer.run.get("notes", [])
            + environment.warnings(before, environment.snapshot(), writer.run, _telemetry(samples))
            + ledger.warnings()
            + summary.outlying_rounds(samples),
            clocks=ledger.clocks(),
            wall_seconds=round(time.monotonic() - started, 3),
            timed_seconds=round(ledger.timed_seconds, 3),
        )
    winners = summary.winners(results, samples)
    return Recording(writer.run, samples, results, winners, interrupted)


def _samples(event: engine.RoundMeasured) -> dict[str, object]:
    columns: dict[str, list[object]] = defaultdict(list)
    for clock, batches in event.result.batches.items():
        columns["clock"] += [clock] * len(batches.turn)
        columns["implementation"] += [event.names[index] for index in batches.contender]
        for name in _BATCH_COLUMNS:
            columns[name] += getattr(batches, name)
    whole = {"case": event.case.id, "contender": records.THIS, "round": event.round, "process": event.process}
    return {**whole, **columns, **event.result.telemetry}


def _telemetry(samples: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how the machine was in each round."""
    rounds = samples.drop_duplicates("process")[["throttle", "steal"]]
    return [{str(column): value for column, value in row.items()} for row in rounds.to_dict("records")]


def _earlier(samples: pd.DataFrame) -> list[engine.RoundMeasured]:
    """Return the rounds of a run that is being resumed, as the events they once were."""
    rounds = []
    for _, frame in samples.groupby(["case", "round", "process"]):
        case, number, process = frame.iloc[0][["case", "round", "process"]]
        names = tuple(dict.fromkeys(frame["implementation"]))
        batches = {
            str(clock): Batches(
                contender=[names.index(name) for name in part["implementation"]],
                **{column: part[column].tolist() for column in _BATCH_COLUMNS},
            )
            for clock, part in frame.groupby("clock")
        }
        rounds.append(engine.RoundMeasured(Case.from_id(case), number, process, names, RoundResult(batches)))
    return rounds


def counts(results: pd.DataFrame) -> dict[str, int]:
    """Return how many rows have each status, those that occur."""
    found = results["status"].value_counts()
    return {status: int(found[status]) for status in records.STATUSES if status in found}
