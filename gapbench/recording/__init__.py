"""Measure into the store: the one way from a plan to a stored run, for the command line and for pytest alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from gapbench import environment, git, records, store, summary
from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.fleet import dealing
from gapbench.fleet.cluster import Member
from gapbench.measuring import engine
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.rounds import RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.operations import builtin, is_user_spec
from gapbench.recording.ledger import BATCH_COLUMNS, Ledger

Event = engine.Event | dealing.Warned

_PLANNED = ("suite", "specs", "clocks", "reference")
_DESCRIBED = ("label", "weight")


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
    elsewhere: Mapping[str, Any] | None = None,
    **fields: object,
) -> store.RunWriter:
    """Create a run in ``target``, described by its plan and environment. Nothing has been measured yet.

    ``notes`` are sentences that belong to the run's warnings; ``fields`` go to run.json as they are. Where another
    machine measures, ``elsewhere`` are the fields ``machine`` and ``versions`` of that one.
    """
    described = {**elsewhere, "git": git.describe()} if elsewhere else environment.describe(contests[0].case.device)
    warned = [] if elsewhere else environment.warnings(environment.snapshot(), None, described)
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
            "load_before": None if elsewhere else environment.load(),
            "load_after": None,
            "ceilings": None,
            "energy": None,
            **fields,
            "notes": list(notes),
            "warnings": [*notes, *warned],
        }
    )


def _snippets(contests: Sequence[Contest]) -> dict[str, str]:
    """Return what a person would write for each implementation, for reports; plug-ins do not say before they run."""
    specs = {name: spec for one in contests for name, spec in one.specs.items()}
    own = {name: f"{name}(x)" for name, spec in specs.items() if is_user_spec(spec)}
    return own | {name: one.snippet for name, spec in specs.items() if (one := builtin(spec)) is not None}


def plan_of(run: Mapping[str, Any]) -> tuple[list[Contest], Effort]:
    """Return what `begin` wrote down of a run's plan. Raises `GapbenchError` where that is not whole."""
    contests = []
    try:
        for one in run["plan"]:
            case = replace(Case.from_id(one["case"]), **{name: one[name] for name in _DESCRIBED})
            contests.append(Contest(one["suite"], case, dict(one["specs"]), tuple(one["clocks"]), one["reference"]))
        return contests, Effort(**run["settings"])
    except (KeyError, TypeError) as error:
        raise GapbenchError(
            f"run {run['run']}: run.json is damaged (no plan can be made of {error}); begin anew"
        ) from error


def own_implementations(run: Mapping[str, Any]) -> set[str]:
    """Return the names of the run's implementations that came from a user's file."""
    return {name for one in run["plan"] for name, spec in one["specs"].items() if is_user_spec(spec)}


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
        with_ceilings = writer.run.get("ceilings") is None
        plan = contests, effort, _earlier(writer.samples()), with_ceilings
        for event in dealing.measure(fleet, *plan) if fleet else engine.measure(*plan, with_energy=True):
            match event:
                case engine.CeilingsMeasured(found):
                    writer.describe(ceilings=found)
                case engine.Qualified():
                    ledger.judge(event)
                case engine.EnergyMeasured(sources, joules):
                    writer.describe(energy=sources)
                    ledger.joules.update(joules)
                case engine.RoundMeasured(case, number, process, names, result):
                    writer.append(ledger.enter(case, number, process, names, result))
                case engine.WorkerLost():
                    ledger.lose(event)
                case dealing.Warned(sentences):
                    ledger.said += sentences
                case engine.CaseDone(case, stopped_by):
                    ledger.stopped_by[case] = stopped_by
            observe(event)
    except KeyboardInterrupt:
        interrupted = True
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    try:
        samples = writer.samples()
        results = summary.results(samples, ledger.outcomes(contests), writer.run.get("ceilings"))
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
