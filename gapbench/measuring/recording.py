"""Measure a plan into the store, for the command line and for pytest."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import msgspec
import pandas as pd

from gapbench.analysis import summary
from gapbench.errors import GapbenchError, RefusedError, counted
from gapbench.machine import environment
from gapbench.measuring import clocks, engine, events, memory, worker_env
from gapbench.measuring.events import Event
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.policies import Policy, Steps, TwoStages
from gapbench.measuring.protocol import DEVICE_FULL, Batches, RoundResult
from gapbench.measuring.servers import Servers
from gapbench.operations import builtin, is_user_spec, operation
from gapbench.repository import git
from gapbench.store import records
from gapbench.store.ceilings import Ceiling
from gapbench.store.records import BASE, NULL, SLOWER, THIS, Qualification
from gapbench.store.run import Environment, Machine, PlannedCase, Run, Settings, Warning
from gapbench.store.store import RunWriter, Store, new_run_id, timestamp
from gapbench.workloads.cases import Case

Elsewhere = Callable[[Plan, Sequence[events.RoundMeasured], bool], Iterable[Event]]
"""Measures a plan on other machines: like `engine.measure`, given earlier rounds, and with ceilings or not."""

BATCH_COLUMNS = ("turn", "position", "calls", "seconds_per_call", "page_faults", "sm_clock_mhz", "instructions")
"""Columns that `records.SAMPLES` and `protocol.Batches` share."""

LOW_CLOCK = 0.75  # the share of the highest clock rate below which a batch is flagged, as nvbench's default
_SLOWED = 1.1  # a slowdown that counts as throttling; clocks measure slowdowns to about 3 %


@dataclass(frozen=True, slots=True)
class Recording:
    """A stored run: its frames, and whether it was interrupted."""

    run: Run
    samples: pd.DataFrame
    results: pd.DataFrame
    winners: pd.DataFrame
    interrupted: bool


@dataclass(slots=True)
class RunCollector:
    """The results so far of a run, its totals, and warnings ``noted``; if ``elsewhere``, not on this machine."""

    elsewhere: bool = False
    qualifications: dict[tuple[str, Case, str, str, str | None], Qualification] = field(default_factory=dict)
    stopped_by: dict[tuple[Case, str], str] = field(default_factory=dict)
    raced: set[tuple[Case, str, str, str]] = field(default_factory=set)
    timed_seconds: float = 0.0
    noted: list[Warning] = field(default_factory=list)
    _preparations: dict[str, list[dict[str, float | None]]] = field(default_factory=lambda: defaultdict(list))
    _slowdowns: list[float] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _before: environment.Snapshot = field(default_factory=environment.snapshot)

    def add_verdict(self, qualified: events.Qualified) -> None:
        """Add an implementation's result; the last one counts."""
        key = qualified.contender, qualified.case, qualified.memory, qualified.implementation, qualified.clock
        self.qualifications[key] = qualified.qualification

    def add_worker_loss(self, lost: events.WorkerLost) -> None:
        """Add a warning about a worker that died."""
        evidence = (
            f"{lost.case.id}: round {lost.round} was lost while {lost.implementation} ran ({lost.reason}), and was "
            "measured again"
        )
        self.noted.append(Warning("workers", evidence, "investigate if it happens again"))

    def add_separation(self, separated: events.SidesSeparated) -> None:
        """Add a warning about sides that cannot share a process."""
        evidence = f"{separated.case.id}: the sides were measured in separate processes: {separated.reason}"
        self.noted.append(Warning("sides", evidence, "let them share a process to find smaller changes"))

    def add_round(self, measured: events.RoundMeasured) -> pd.DataFrame:
        """Add a round, and return its samples with the columns of `records.SAMPLES` except ``run``."""
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
        of_round = {**result.telemetry, "round": measured.round, "process": measured.process}
        rate = result.telemetry.get("sm_clock_mhz")  # of batches that have none of their own
        columns["sm_clock_mhz"] = [rate if own is None else own for own in columns["sm_clock_mhz"]]
        return pd.DataFrame({**of_round, "case": measured.case.id, "memory": measured.memory, **columns})

    def outcomes(self, plans: Sequence[CasePlan], contender: str = THIS) -> list[summary.Outcome]:
        """Return the outcomes of a contender's implementations that were judged; null has base's judgements."""
        outcomes = []
        judged_as = BASE if contender == NULL else contender
        rows = (
            (case_plan, name, clock) for case_plan in plans for name in case_plan.specs for clock in case_plan.clocks
        )
        for case_plan, name, clock in rows:
            key = judged_as, *case_plan.key, name
            if (*key, None) not in self.qualifications:
                continue
            qualification = self.qualifications.get((*key, clock)) or self.qualifications[*key, None]
            stopped_by = self.stopped_by.get(case_plan.key) if qualification.status == "ok" else None
            if stopped_by and (*case_plan.key, name, clock) in self.raced:
                stopped_by = SLOWER
            reference = case_plan.reference if contender == THIS else None
            protocol = clocks.clock_class(clock)
            ranked = operation(case_plan.case.operation).ranked
            traits = {"ranked": ranked, "cold": protocol.cold, "times_launch": protocol.times_launch}
            of_case = case_plan.suite, case_plan.case, name, clock, qualification, stopped_by, reference, contender
            outcomes.append(summary.Outcome(*of_case, case_plan.memory, traits))
        return outcomes

    def finalize(self, writer: RunWriter, samples: pd.DataFrame, results: pd.DataFrame) -> None:
        """Complete the run: store its results, warnings, clocks' preparations and times."""
        here: list[Warning] = []
        ranked = samples[samples["contender"] == THIS]
        if not self.elsewhere:
            throttles = samples.drop_duplicates("process")["throttle"].tolist()
            here = environment.warnings(self._before, environment.snapshot(), writer.run.machine, throttles)
        writer.finish(
            results,
            load_after=None if self.elsewhere else environment.load(),
            warnings=(
                *writer.run.notes,
                *here,
                *self.noted,
                *self._throttling(samples["sm_clock_mhz"]),
                *summary.above_ceilings(results, writer.run.ceilings),
                *summary.outlying_rounds(ranked),
                *summary.uneven(ranked),
            ),
            clocks=summary.clock_medians(self._preparations),
            wall_seconds=round(time.monotonic() - self._started, 3),
            timed_seconds=round(self.timed_seconds, 3),
        )

    def _throttling(self, clock_rates: "pd.Series[float]") -> Iterator[Warning]:
        if below := int((clock_rates < LOW_CLOCK * clock_rates.max()).sum()):
            evidence = (
                f"{below} of {clock_rates.count()} batches ran at less than {LOW_CLOCK:.0%} of the highest clock rate, "
                f"{clock_rates.max():.0f} MHz: their times are too long"
            )
            yield Warning("throttling", evidence, "lock the clock with gapbench tune, and run again")
        slowed = [slowdown for slowdown in self._slowdowns if slowdown > _SLOWED]
        if slowed and clock_rates.isna().all():  # else the rates have said so, or that the work was slowed by others
            evidence = (
                f"in {len(slowed)} of {len(self._slowdowns)} rounds the device took up to {max(slowed):.2f} times as "
                "long for the same work as at the round's start: it was throttled"
            )
            yield Warning("throttling", evidence, "cool it or lock a lower clock, and run again")


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
    """Create a run in ``target``, described by its plan and environment, before anything is measured.

    ``notes`` become warnings, ``described`` fields of `Run`; ``elsewhere`` is the machine that measures, if another.
    """
    here = elsewhere or environment.describe(plans[0].case.device)
    warned = [] if elsewhere else environment.warnings(environment.snapshot(), None, here.machine)
    notes = [*notes, *([] if elsewhere else _inherited(plans)), *_oversubscribed(plans, here.machine)]
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
            plan=tuple(map(_planned, plans)),
            snippets=_snippets(plans),
            load_before=None if elsewhere else environment.load(),
            notes=tuple(notes),
            warnings=(*notes, *warned),
            **described,
        )
    )


def _planned(case_plan: CasePlan) -> PlannedCase:
    case = case_plan.case
    own = {name: getattr(case_plan, name) for name in ("suite", "specs", "clocks", "reference", "memory")}
    return PlannedCase(case=case.id, label=case.label, weight=case.weight, **own)


def _inherited(plans: Sequence[CasePlan]) -> Iterator[Warning]:
    """Warn of what the workers' environment changes: what a launch is, or the memory condition that rows name."""
    if all(case_plan.case.device != "cpu" for case_plan in plans):
        for name, effect in worker_env.changes_meaning().items():
            yield Warning("variables", f"{name} is set: {effect}, and that is timed", f"unset {name} and run again")
    elif allocator := memory.other_allocator(worker_env.environment().get("LD_PRELOAD", "")):
        evidence = f"workers allocate with {allocator}, which ignores glibc's settings, so memory is kept as it decides"
        yield Warning("memory", evidence, "unset LD_PRELOAD, or compare with runs under the same allocator only")


def _oversubscribed(plans: Sequence[CasePlan], machine: Machine) -> Iterator[Warning]:
    most = max((case_plan.case.threads for case_plan in plans if case_plan.case.device == "cpu"), default=1)
    if machine.usable_cores and most > machine.usable_cores:
        evidence = f"{most} threads share {counted(machine.usable_cores, 'usable CPU')} and wait for each other"
        yield Warning("threads", evidence, f"measure with --threads {machine.usable_cores} or fewer")


def _snippets(plans: Sequence[CasePlan]) -> dict[str, str]:
    specs = {name: spec for case_plan in plans for name, spec in case_plan.specs.items()}
    own = {name: f"{name}(x)" for name, spec in specs.items() if is_user_spec(spec)}
    return own | {name: built_in.snippet for name, spec in specs.items() if (built_in := builtin(spec)) is not None}


def plan_of(run: Run) -> tuple[list[CasePlan], Effort]:
    """Return the plan that `begin` stored in a run. Raises `GapbenchError` where it is incomplete."""
    incomplete = GapbenchError(f"run {run.id}: run.json is damaged (its plan is incomplete); measure again")
    settings = {setting.name: getattr(run.settings, setting.name) for setting in fields(Effort)}
    if run.plan is None or None in settings.values():
        raise incomplete
    plans = []
    for planned in run.plan:
        if planned.suite is None or planned.reference is None:
            raise incomplete
        case = replace(Case.from_id(planned.case), label=planned.label, weight=planned.weight)
        memory = planned.memory or "kept"
        plans.append(CasePlan(planned.suite, case, planned.specs, planned.clocks, planned.reference, memory))
    return plans, Effort(**settings)


def own_implementations(run: Run) -> set[str]:
    """Return the names of the run's implementations from a user's file."""
    return {name for planned in run.plan or () for name, spec in planned.specs.items() if is_user_spec(spec)}


def measure(
    target: Store,
    plans: Sequence[CasePlan],
    effort: Effort,
    argv: Sequence[str],
    observe: Callable[[Event], None] = lambda _event: None,
    **described: Any,
) -> Recording:
    """Measure a plan into a new run: `begin`, whose further arguments are ``described``, and `record`."""
    return record(begin(target, plans, effort, argv, **described), Plan(tuple(plans), effort), observe)


def record(
    writer: RunWriter,
    plan: Plan,
    observe: Callable[[Event], None] = lambda _event: None,
    elsewhere: Elsewhere | None = None,
    servers: Servers | None = None,
    policy: Policy | None = None,
) -> Recording:
    """Measure a plan here or ``elsewhere``, store every round as it ends, and call ``observe`` with each event.

    Ctrl-C ends the measuring and keeps all rounds: the run stays open and can be resumed, without measuring them again.
    ``servers`` are the engine's, where they started early. ``policy`` is by default that of `run` or of `ab`.
    """
    collector = RunCollector(elsewhere=elsewhere is not None)
    interrupted = False
    try:
        for event in _events(writer, plan, elsewhere, servers, policy):
            match event:
                case events.CeilingsMeasured(ceilings):
                    writer.describe(ceilings=msgspec.convert(ceilings, tuple[Ceiling, ...]))
                case events.Qualified():
                    collector.add_verdict(event)
                    if (reason := event.qualification.reason or "").startswith(DEVICE_FULL):
                        raise RefusedError(reason)
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
                    writer.describe(comparison=msgspec.structs.replace(comparison, flagged=rows))
                case events.Warned(warnings):
                    collector.noted += warnings
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


def _events(
    writer: RunWriter, plan: Plan, elsewhere: Elsewhere | None, servers: Servers | None, policy: Policy | None
) -> Iterable[Event]:
    earlier = _earlier(writer.samples())
    if plan.is_comparison:
        comparison = writer.run.comparison
        assert comparison is not None
        if writer.run.is_matrix:
            policy = Steps(plan.effort, comparison.margin)
        policy = policy or TwoStages(plan.effort, comparison.margin, comparison.flagged)
        return engine.measure(plan, policy, earlier, servers=servers)
    with_ceilings = writer.run.ceilings is None
    if elsewhere is not None:
        return elsewhere(plan, earlier, with_ceilings)
    return engine.measure(plan, earlier=earlier, with_ceilings=with_ceilings, servers=servers)


def _results(writer: RunWriter, plan: Plan, samples: pd.DataFrame, collector: RunCollector) -> pd.DataFrame:
    if not plan.is_comparison:
        return summary.results(samples, collector.outcomes(plan.plans), writer.run.ceilings)
    frames = []
    for side in plan.sides:
        own = samples[samples["contender"] == side.name]
        outcomes = collector.outcomes(plan.plans, side.name)
        if side.name == NULL:  # takes part in some cases only
            rows = set(zip(own["case"], own["implementation"], own["clock"], strict=True))
            outcomes = [row for row in outcomes if (row.case.id, row.implementation, row.clock) in rows]
        frames.append(summary.results(own, outcomes))
    # pandas warns about joining columns without values; reindexing restores those that are empty on all sides.
    filled = [frame.dropna(axis="columns", how="all") for frame in frames]
    return pd.concat(filled, ignore_index=True).reindex(columns=frames[0].columns)


def resumable(writer: RunWriter, error: BaseException) -> GapbenchError:
    """Release the run; return the error that ended its measuring, with the command that resumes it."""
    writer.release()
    reason = "out of memory" if isinstance(error, MemoryError) else str(error)
    remedy = f"fix that and resume with: gapbench run --resume {writer.id}"
    kind = type(error) if isinstance(error, GapbenchError) else GapbenchError
    return kind(f"{reason}; all earlier rounds are kept; {remedy}")


def _earlier(samples: pd.DataFrame) -> list[events.RoundMeasured]:
    rounds = []
    samples = samples.assign(memory=samples["memory"].fillna("kept"))
    for (case, _, condition), frame in samples.groupby(["case", "round", "memory"]):
        names = tuple(dict.fromkeys(frame["implementation"]))
        sides = tuple(dict.fromkeys(frame["contender"]))
        contenders = {(side, name): s * len(names) + n for s, side in enumerate(sides) for n, name in enumerate(names)}
        batches = {}
        for clock, part in frame.groupby("clock"):
            pairs = zip(part["contender"], part["implementation"], strict=True)
            columns = {column: part[column].tolist() for column in BATCH_COLUMNS}
            batches[str(clock)] = Batches([contenders[pair] for pair in pairs], **columns)
        number, process = (int(frame[column].iloc[0]) for column in ("round", "process"))
        of_case = Case.from_id(str(case)), number, process, names
        rounds.append(events.RoundMeasured(*of_case, RoundResult(batches), sides, str(condition)))
    return rounds


def counts(results: pd.DataFrame) -> dict[str, int]:
    """Return how many rows have each status that occurs, in the order of `records.STATUSES`."""
    numbers = results["status"].value_counts()
    return {status: int(numbers[status]) for status in records.STATUSES if status in numbers}
