"""Measure into the store: the one way from a plan to a stored run, for the command line and for pytest alike."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import msgspec
import pandas as pd

from gapbench import environment, git, records, store, summary
from gapbench.cases import Case
from gapbench.ceilings import Ceiling
from gapbench.errors import GapbenchError
from gapbench.fleet import dealing
from gapbench.fleet.cluster import Member
from gapbench.measuring import engine
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.rounds import RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.operations import builtin, is_user_spec
from gapbench.recording.ledger import BATCH_COLUMNS, Ledger
from gapbench.run import EnergySource, Environment, PlannedCase, Run, Settings, Warning

Event = engine.Event | dealing.Warned

_PLANNED = ("suite", "specs", "clocks", "reference")
_DESCRIBED = ("label", "weight")


@dataclass(frozen=True, slots=True)
class Recording:
    """A stored run: its frames, and whether it was cut short."""

    run: Run
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
    notes: Sequence[Warning] = (),
    elsewhere: Environment | None = None,
    **described: Any,
) -> store.RunWriter:
    """Create a run in ``target``, described by its plan and environment. Nothing has been measured yet.

    ``notes`` belong to the run's warnings; ``described`` are more fields of `Run`. Where another machine measures,
    ``elsewhere`` is its environment.
    """
    here = elsewhere or environment.describe(contests[0].case.device)
    warned = [] if elsewhere else environment.warnings(environment.snapshot(), None, here.machine)
    commit = git.describe()
    return target.create(
        Run(
            id=store.new_run_id(commit.commit if commit else None),
            started=store.timestamp(),
            argv=tuple(argv),
            tag=tag,
            suites=tuple(sorted({contest.suite for contest in contests})),
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
                for one in contests
            ),
            snippets=_snippets(contests),
            load_before=None if elsewhere else environment.load(),
            notes=tuple(notes),
            warnings=(*notes, *warned),
            **described,
        )
    )


def _snippets(contests: Sequence[Contest]) -> dict[str, str]:
    """Return what a person would write for each implementation, for reports; plug-ins do not say before they run."""
    specs = {name: spec for one in contests for name, spec in one.specs.items()}
    own = {name: f"{name}(x)" for name, spec in specs.items() if is_user_spec(spec)}
    return own | {name: one.snippet for name, spec in specs.items() if (one := builtin(spec)) is not None}


def plan_of(run: Run) -> tuple[list[Contest], Effort]:
    """Return what `begin` wrote down of a run's plan. Raises `GapbenchError` where that is not whole."""
    contests = []
    for one in run.plan or ():
        if one.suite is None or one.reference is None:
            raise GapbenchError(f"run {run.id}: run.json is damaged (the plan of {one.case} is not whole); begin anew")
        case = replace(Case.from_id(one.case), label=one.label, weight=one.weight)
        contests.append(Contest(one.suite, case, one.specs, one.clocks, one.reference))
    settings = {one.name: getattr(run.settings, one.name) for one in fields(Effort)}
    if run.plan is None or None in settings.values():
        raise GapbenchError(f"run {run.id}: run.json is damaged (its plan or settings are not whole); begin anew")
    return contests, Effort(**settings)


def own_implementations(run: Run) -> set[str]:
    """Return the names of the run's implementations that came from a user's file."""
    return {name for one in run.plan or () for name, spec in one.specs.items() if is_user_spec(spec)}


def record(
    writer: store.RunWriter,
    contests: Sequence[Contest],
    effort: Effort,
    observe: Callable[[Event], None] = lambda _event: None,
    fleet: Sequence[Member] = (),
) -> Recording:
    """Measure ``contests`` here or on a ``fleet`` and store every round as it ends; ``observe`` is told each event.

    Ctrl-C ends the measuring and keeps what was measured: the run stays open and can be resumed. Rounds and ceilings
    that ``writer`` already has are not measured again.
    """
    ledger = Ledger(elsewhere=bool(fleet))
    interrupted = False
    try:
        with_ceilings = writer.run.ceilings is None
        plan = contests, effort, _earlier(writer.samples()), with_ceilings
        for event in dealing.measure(fleet, *plan) if fleet else engine.measure(*plan, with_energy=True):
            match event:
                case engine.CeilingsMeasured(found):
                    writer.describe(ceilings=msgspec.convert(found, tuple[Ceiling, ...]))
                case engine.Qualified():
                    ledger.judge(event)
                case engine.EnergyMeasured(sources, joules):
                    writer.describe(energy=msgspec.convert(sources, tuple[EnergySource, ...]))
                    ledger.joules.update(joules)
                case engine.RoundMeasured(case, number, process, names, result):
                    writer.append(ledger.enter(case, number, process, names, result))
                case engine.WorkerLost():
                    ledger.lose(event)
                case dealing.Warned(warnings):
                    ledger.said += warnings
                case engine.CaseDone(case, stopped_by):
                    ledger.stopped_by[case] = stopped_by
            observe(event)
    except KeyboardInterrupt:
        interrupted = True
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    try:
        samples = writer.samples()
        results = summary.results(samples, ledger.outcomes(contests), writer.run.ceilings)
        if interrupted:
            writer.interrupt(results)
        else:
            ledger.close(writer, samples, results)
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    winners = summary.winners(results, samples)
    return Recording(writer.run, samples, results, winners, interrupted)


def resumable(writer: store.RunWriter, error: BaseException) -> GapbenchError:
    """Return the error that ended a run's measuring, with what is left of the run and how to go on."""
    writer.release()
    what = "out of memory" if isinstance(error, MemoryError) else str(error)
    remedy = f"mend that and go on with: gapbench run --resume {writer.id}"
    return GapbenchError(f"{what}; all rounds before that are kept; {remedy}")


def _earlier(samples: pd.DataFrame) -> list[engine.RoundMeasured]:
    """Return the rounds of a run that is being resumed, as the events they once were."""
    rounds = []
    for _, frame in samples.groupby(["case", "round", "process"]):
        case, number, process = frame.iloc[0][["case", "round", "process"]]
        names = tuple(dict.fromkeys(frame["implementation"]))
        batches = {
            str(clock): Batches(
                contender=[names.index(name) for name in part["implementation"]],
                **{column: part[column].tolist() for column in BATCH_COLUMNS},
            )
            for clock, part in frame.groupby("clock")
        }
        rounds.append(engine.RoundMeasured(Case.from_id(case), number, process, names, RoundResult(batches)))
    return rounds


def counts(results: pd.DataFrame) -> dict[str, int]:
    """Return how many rows have each status, those that occur."""
    found = results["status"].value_counts()
    return {status: int(found[status]) for status in records.STATUSES if status in found}
