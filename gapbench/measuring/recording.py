"""Measure into the store: the one way from a plan to a stored run, for the command line and for pytest alike."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import msgspec
import pandas as pd

from gapbench.analysis import summary
from gapbench.errors import GapbenchError, counted
from gapbench.machine import environment
from gapbench.measuring import clocks, engine, events, memory, worker_env
from gapbench.measuring.events import Confirmation, Event
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.policies import TwoStages
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.measuring.servers import Servers
from gapbench.operations import builtin, is_user_spec, operation
from gapbench.repository import git
from gapbench.store import records
from gapbench.store.ceilings import Ceiling
from gapbench.store.records import BASE, HEAD, NULL, SLOWER, THIS, Qualification
from gapbench.store.run import EnergySource, Environment, FlaggedRow, Machine, PlannedCase, Run, Settings, Warning
from gapbench.store.store import RunWriter, Store, new_run_id, timestamp
from gapbench.workloads.cases import Case

Elsewhere = Callable[[Plan, Sequence[events.RoundMeasured], bool], Iterable[Event]]
"""What measures a plan on other machines: like `engine.measure`, given earlier rounds, and with ceilings or not."""

_PLANNED = ("suite", "specs", "clocks", "reference", "memory")
_DESCRIBED = ("label", "weight")

BATCH_COLUMNS = ("turn", "position", "calls", "seconds_per_call", "page_faults")
"""Columns of `records.SAMPLES` that are those of `protocol.Batches`."""

_SLOWED = 1.1
"""Clocks know how much longer a fixed piece of work takes to about 3 %."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A stored run: its frames, and whether it was cut short."""

    run: Run
    samples: pd.DataFrame
    results: pd.DataFrame
    winners: pd.DataFrame
    interrupted: bool


@dataclass(slots=True)
class RunCollector:
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

    def add_verdict(self, qualified: events.Qualified) -> None:
        """Take in what was found of an implementation; the last word counts."""
        key = qualified.contender, qualified.case, qualified.memory, qualified.implementation, qualified.clock
        self.qualifications[key] = qualified.qualification

    def add_worker_loss(self, lost: events.WorkerLost) -> None:
        """Take in that a worker died."""
        evidence = (
            f"{lost.case.id}: a worker was lost in round {lost.round} while it ran {lost.implementation} "
            f"({lost.reason}); the round was measured again by another"
        )
        self.said.append(Warning("workers", evidence, "look into it if it happens twice"))

    def add_separation(self, separated: events.SidesSeparated) -> None:
        """Take in that two sides have processes of their own."""
        evidence = f"{separated.case.id}: base and head were measured in processes of their own: {separated.reason}"
        self.said.append(Warning("sides", evidence, "smaller changes are found where they can share one"))

    def add_round(self, measured: events.RoundMeasured) -> pd.DataFrame:
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

    def outcomes(self, plans: Sequence[CasePlan], contender: str = THIS) -> list[summary.Outcome]:
        """Return what became of a contender's implementations, those that were judged; null is judged as base."""
        outcomes = []
        judged_as = BASE if contender == NULL else contender
        rows = (
            (case_plan, name, clock) for case_plan in plans for name in case_plan.specs for clock in case_plan.clocks
        )
        for case_plan, name, clock in rows:
            case, memory = case_plan.key
            of_all = self.qualifications.get((judged_as, case, memory, name, None))
            if of_all is None:
                continue
            qualification = self.qualifications.get((judged_as, case, memory, name, clock), of_all)
            qualification = replace(qualification, energy_joules=self.joules.get((case, name)))
            stopped_by = self.stopped_by.get((case, memory)) if qualification.status == "ok" else None
            if stopped_by and (case, memory, name, clock) in self.raced:
                stopped_by = SLOWER
            reference = case_plan.reference if contender == THIS else None
            protocol = clocks.clock_class(clock)
            traits = {
                "ranked": operation(case.operation).ranked,
                "cold": protocol.cold,
                "times_launch": protocol.times_launch,
            }
            outcomes.append(
                summary.Outcome(
                    case_plan.suite, case, name, clock, qualification, stopped_by, reference, contender, memory, traits
                )
            )
        return outcomes

    def finalize(self, writer: RunWriter, samples: pd.DataFrame, results: pd.DataFrame, **fields: Any) -> None:
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
        medians = {}
        for clock, rounds in self._preparations.items():
            columns = pd.DataFrame(rounds, dtype=float)
            medians[clock] = {str(name): None if math.isnan(m) else float(m) for name, m in columns.median().items()}
        return medians

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


def _telemetry(samples: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how the machine was in each round."""
    rounds = samples.drop_duplicates("process")[["throttle", "steal"]]
    return [{str(column): value for column, value in row.items()} for row in rounds.to_dict("records")]


def begin(
    target: Store,
    plans: Sequence[CasePlan],
    effort: Effort,
    argv: Sequence[str],
    tag: str | None = None,
    notes: Sequence[Warning] = (),
    elsewhere: Environment | None = None,
    **described: Any,
) -> RunWriter:
    """Create a run in ``target``, described by its plan and environment. Nothing has been measured yet.

    ``notes`` belong to the run's warnings; ``described`` are more fields of `Run`. Where another machine measures,
    ``elsewhere`` is its environment.
    """
    here = elsewhere or environment.describe(plans[0].case.device)
    warned = [] if elsewhere else environment.warnings(environment.snapshot(), None, here.machine)
    notes = [*notes, *([] if elsewhere else _unarranged(plans)), *_oversubscribed(plans, here.machine)]
    commit = git.describe()
    if commit is None and (sentence := git.refusal()):
        notes.append(Warning("code", f"git does not read this repository: {sentence}", "the run names no commit"))
    return target.create(
        Run(
            id=new_run_id(commit.commit if commit else None),
            started=timestamp(),
            argv=tuple(argv),
            tag=tag,
            suites=tuple(sorted({case_plan.suite for case_plan in plans})),
            seed=effort.seed,
            git=commit,
            machine=here.machine,
            versions=here.versions,
            settings=Settings(**asdict(effort)),
            plan=tuple(
                PlannedCase(
                    case=one.case.id,
                    **{name: getattr(one.case, name) for name in _DESCRIBED},
                    **{name: getattr(one, name) for name in _PLANNED},
                )
                for one in plans
            ),
            snippets=_snippets(plans),
            load_before=None if elsewhere else environment.load(),
            notes=tuple(notes),
            warnings=(*notes, *warned),
            **described,
        )
    )


def _unarranged(plans: Sequence[CasePlan]) -> list[Warning]:
    """Return why workers' memory is not as the rows will say, where another allocator ignores glibc's settings."""
    other = memory.unarranged(worker_env.environment().get("LD_PRELOAD", ""))
    if other is None or all(case_plan.case.device != "cpu" for case_plan in plans):
        return []
    evidence = f"workers allocate with {other}, which ignores glibc's settings: memory is as that allocator has it"
    return [Warning("memory", evidence, "unset LD_PRELOAD, or compare with runs under the same allocator only")]


def _oversubscribed(plans: Sequence[CasePlan], machine: Machine) -> Iterable[Warning]:
    """Yield that cases use more threads than there are CPUs for them."""
    most = max((case_plan.case.threads for case_plan in plans if case_plan.case.device == "cpu"), default=1)
    if machine.usable_cores and most > machine.usable_cores:
        evidence = f"{most} threads share {counted(machine.usable_cores, 'usable CPU')} and wait for each other"
        yield Warning("threads", evidence, f"measure with --threads {machine.usable_cores} or fewer")


def _snippets(plans: Sequence[CasePlan]) -> dict[str, str]:
    """Return what a person would write for each implementation, for reports; plug-ins do not say before they run."""
    specs = {name: spec for one in plans for name, spec in one.specs.items()}
    own = {name: f"{name}(x)" for name, spec in specs.items() if is_user_spec(spec)}
    return own | {name: one.snippet for name, spec in specs.items() if (one := builtin(spec)) is not None}


def plan_of(run: Run) -> tuple[list[CasePlan], Effort]:
    """Return what `begin` wrote down of a run's plan. Raises `GapbenchError` where that is not whole."""
    plans = []
    for one in run.plan or ():
        if one.suite is None or one.reference is None:
            raise GapbenchError(f"run {run.id}: run.json is damaged (the plan of {one.case} is not whole); begin anew")
        case = replace(Case.from_id(one.case), label=one.label, weight=one.weight)
        plans.append(CasePlan(one.suite, case, one.specs, one.clocks, one.reference, one.memory or "kept"))
    settings = {one.name: getattr(run.settings, one.name) for one in fields(Effort)}
    if run.plan is None or None in settings.values():
        raise GapbenchError(f"run {run.id}: run.json is damaged (its plan or settings are not whole); begin anew")
    return plans, Effort(**settings)


def own_implementations(run: Run) -> set[str]:
    """Return the names of the run's implementations that came from a user's file."""
    return {name for one in run.plan or () for name, spec in one.specs.items() if is_user_spec(spec)}


def record(
    writer: RunWriter,
    plan: Plan,
    observe: Callable[[Event], None] = lambda _event: None,
    elsewhere: Elsewhere | None = None,
    servers: Servers | None = None,
) -> Recording:
    """Measure a plan here or ``elsewhere`` and store every round as it ends; ``observe`` is told each event.

    Ctrl-C ends the measuring and keeps what was measured: the run stays open and can be resumed. Rounds and ceilings
    that ``writer`` already has are not measured again. ``servers`` are the engine's, where they started early.
    """
    collector = RunCollector(elsewhere=elsewhere is not None)
    interrupted = False
    try:
        for event in _events(writer, plan, elsewhere, servers):
            match event:
                case events.CeilingsMeasured(found):
                    writer.describe(ceilings=msgspec.convert(found, tuple[Ceiling, ...]))
                case events.Qualified():
                    collector.add_verdict(event)
                case events.EnergyMeasured(sources, joules):
                    writer.describe(energy=msgspec.convert(sources, tuple[EnergySource, ...]))
                    collector.joules.update(joules)
                case events.RoundMeasured():
                    writer.append(collector.add_round(event))
                case events.WorkerLost():
                    collector.add_worker_loss(event)
                case events.SidesSeparated():
                    collector.add_separation(event)
                case events.Raced(case, name, clock, memory):
                    collector.raced.add((case, memory, name, clock))
                case events.Flagged(rows):
                    comparison = writer.run.comparison
                    assert comparison is not None
                    writer.describe(comparison=msgspec.structs.replace(comparison, flagged=_flagged(rows)))
                case events.Warned(warnings):
                    collector.said += warnings
                case events.CaseDone(case, stopped_by, memory):
                    collector.stopped_by[case, memory] = stopped_by
            observe(event)
    except KeyboardInterrupt:
        interrupted = True
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    try:
        samples = writer.samples()
        results = _results(writer, plan, samples, collector)
        if interrupted:
            writer.interrupt(results)
        else:
            collector.finalize(writer, samples, results)
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    winners = summary.winners(results, samples)
    return Recording(writer.run, samples, results, winners, interrupted)


def _events(writer: RunWriter, plan: Plan, elsewhere: Elsewhere | None, servers: Servers | None) -> Iterable[Event]:
    earlier = _earlier(writer.samples())
    if plan.is_comparison:
        comparison = writer.run.comparison
        assert comparison is not None
        flagged = comparison.flagged
        rows = None if flagged is None else {_row(one): Confirmation(one.round, one.rounds) for one in flagged}
        return engine.measure(plan, TwoStages(plan.effort, comparison.margin, rows), earlier, servers=servers)
    with_ceilings = writer.run.ceilings is None
    if elsewhere is not None:
        return elsewhere(plan, earlier, with_ceilings)
    return engine.measure(plan, earlier=earlier, with_ceilings=with_ceilings, with_energy=True, servers=servers)


def _row(one: FlaggedRow) -> tuple[Case, str, str]:
    return Case.from_id(one.case), one.implementation, one.clock


def _flagged(rows: Mapping[tuple[Case, str, str], Confirmation]) -> tuple[FlaggedRow, ...]:
    return tuple(FlaggedRow(case.id, name, clock, *fresh) for (case, name, clock), fresh in rows.items())


def _results(writer: RunWriter, plan: Plan, samples: pd.DataFrame, collector: RunCollector) -> pd.DataFrame:
    if not plan.is_comparison:
        return summary.results(samples, collector.outcomes(plan.plans), writer.run.ceilings)
    found = []
    for side in plan.sides:
        mine = samples[samples["contender"] == side.name]
        outcomes = collector.outcomes(plan.plans, side.name)
        if side.name == NULL:  # takes part here and there
            there = set(zip(mine["case"], mine["implementation"], mine["clock"], strict=True))
            outcomes = [one for one in outcomes if (one.case.id, one.implementation, one.clock) in there]
        found.append(summary.results(mine, outcomes))
    # pandas warns where it joins columns without values; those that no side has values in are there all the same
    filled = [one.dropna(axis="columns", how="all") for one in found]
    return pd.concat(filled, ignore_index=True).reindex(columns=found[0].columns)


def resumable(writer: RunWriter, error: BaseException) -> GapbenchError:
    """Return the error that ended a run's measuring, with what is left of the run and how to go on."""
    writer.release()
    what = "out of memory" if isinstance(error, MemoryError) else str(error)
    remedy = f"mend that and go on with: gapbench run --resume {writer.id}"
    return GapbenchError(f"{what}; all rounds before that are kept; {remedy}")


def _earlier(samples: pd.DataFrame) -> list[events.RoundMeasured]:
    """Return the rounds of a run that is being resumed, as the events they once were."""
    rounds = []
    samples = samples.assign(memory=samples["memory"].fillna("kept"))
    for (case, _, condition), frame in samples.groupby(["case", "round", "memory"]):
        names = tuple(dict.fromkeys(frame["implementation"]))
        sides = tuple(side for side in (THIS, BASE, HEAD, NULL) if side in set(frame["contender"]))
        contenders = {(side, name): s * len(names) + n for s, side in enumerate(sides) for n, name in enumerate(names)}
        batches = {}
        for clock, part in frame.groupby("clock"):
            pairs = zip(part["contender"], part["implementation"], strict=True)
            columns = {column: part[column].tolist() for column in BATCH_COLUMNS}
            batches[str(clock)] = Batches([contenders[pair] for pair in pairs], **columns)
        number, process = (int(frame[column].iloc[0]) for column in ("round", "process"))
        of = Case.from_id(str(case))
        rounds.append(events.RoundMeasured(of, number, process, names, RoundResult(batches), sides, str(condition)))
    return rounds


def counts(results: pd.DataFrame) -> dict[str, int]:
    """Return how many rows have each status, those that occur."""
    found = results["status"].value_counts()
    return {status: int(found[status]) for status in records.STATUSES if status in found}
