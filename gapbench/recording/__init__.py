"""Measure into the store: the one way from a plan to a stored run, for the command line and for pytest alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from gapbench import environment, git, records, store, summary
from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.fleet import dealing
from gapbench.fleet.cluster import Member
from gapbench.measuring import engine, memory, worker_env
from gapbench.measuring.plan import Contest, Effort, Plan
from gapbench.measuring.policies import TwoStages
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.operations import builtin, is_user_spec
from gapbench.recording.ledger import BATCH_COLUMNS, Ledger
from gapbench.records import BASE, HEAD, NULL, THIS

Event = engine.Event | dealing.Warned

_PLANNED = ("suite", "specs", "clocks", "reference", "memory")
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
    notes = [*notes, *([] if elsewhere else _unarranged(contests))]
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


def _unarranged(contests: Sequence[Contest]) -> list[str]:
    """Return why workers' memory is not as the rows will say, where another allocator ignores glibc's settings."""
    other = memory.unarranged(worker_env.environment().get("LD_PRELOAD", ""))
    if other is None or all(contest.case.device != "cpu" for contest in contests):
        return []
    return [
        f"workers allocate with {other}, which ignores the settings of glibc: memory is as that allocator has it, "
        "whatever the rows say; unset LD_PRELOAD, or compare with runs under the same allocator only"
    ]


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
            clocks, memory = tuple(one["clocks"]), one.get("memory") or "kept"
            contests.append(Contest(one["suite"], case, dict(one["specs"]), clocks, one["reference"], memory))
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
    plan: Plan,
    observe: Callable[[Event], None] = lambda _event: None,
    fleet: Sequence[Member] = (),
) -> Recording:
    """Measure a plan here or on a ``fleet`` and store every round as it ends; ``observe`` is told each event.

    Ctrl-C ends the measuring and keeps what was measured: the run stays open and can be resumed. Rounds and ceilings
    that ``writer`` already has are not measured again.
    """
    ledger = Ledger(elsewhere=bool(fleet))
    interrupted = False
    try:
        for event in _events(writer, plan, fleet):
            match event:
                case engine.CeilingsMeasured(found):
                    writer.describe(ceilings=found)
                case engine.Qualified():
                    ledger.judge(event)
                case engine.EnergyMeasured(sources, joules):
                    writer.describe(energy=sources)
                    ledger.joules.update(joules)
                case engine.RoundMeasured():
                    writer.append(ledger.enter(event))
                case engine.WorkerLost():
                    ledger.lose(event)
                case engine.SidesSeparated():
                    ledger.separate(event)
                case engine.Raced(case, name, clock, memory):
                    ledger.raced.add((case, memory, name, clock))
                case engine.Flagged(rows):
                    writer.describe(ab={**writer.run["ab"], "flagged": _flagged(rows)})
                case dealing.Warned(sentences):
                    ledger.said += sentences
                case engine.CaseDone(case, stopped_by, memory):
                    ledger.stopped_by[case, memory] = stopped_by
            observe(event)
    except KeyboardInterrupt:
        interrupted = True
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    try:
        samples = writer.samples()
        results = _results(writer, plan, samples, ledger)
        if interrupted:
            writer.interrupt(results)
        else:
            ledger.close(writer, samples, results)
    except (GapbenchError, OSError, MemoryError) as error:
        raise resumable(writer, error) from error
    winners = summary.winners(results, samples)
    return Recording(writer.run, samples, results, winners, interrupted)


def _events(writer: store.RunWriter, plan: Plan, fleet: Sequence[Member]) -> Iterable[Event]:
    earlier = _earlier(writer.samples())
    if plan.is_comparison:
        described = writer.run["ab"]
        flagged = described.get("flagged")
        rows = None if flagged is None else {_row(one): one["round"] for one in flagged}
        return engine.measure(plan, TwoStages(plan.effort, described["margin"], rows), earlier)
    with_ceilings = writer.run.get("ceilings") is None
    if fleet:
        return dealing.measure(fleet, plan.contests, plan.effort, earlier, with_ceilings)
    return engine.measure(plan, earlier=earlier, with_ceilings=with_ceilings, with_energy=True)


def _row(one: Mapping[str, Any]) -> tuple[Case, str, str]:
    return Case.from_id(one["case"]), one["implementation"], one["clock"]


def _flagged(rows: Mapping[tuple[Case, str, str], int]) -> list[dict[str, object]]:
    return [
        {"case": case.id, "implementation": name, "clock": clock, "round": first}
        for (case, name, clock), first in rows.items()
    ]


def _results(writer: store.RunWriter, plan: Plan, samples: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    if not plan.is_comparison:
        return summary.results(samples, ledger.outcomes(plan.contests), writer.run.get("ceilings"))
    found = []
    for side in plan.sides:
        mine = samples[samples["contender"] == side.name]
        outcomes = ledger.outcomes(plan.contests, side.name)
        if side.name == NULL:  # takes part here and there
            there = set(zip(mine["case"], mine["implementation"], mine["clock"], strict=True))
            outcomes = [one for one in outcomes if (one.case.id, one.implementation, one.clock) in there]
        found.append(summary.results(mine, outcomes))
    # pandas warns where it joins columns without values; those that no side has values in are there all the same
    filled = [one.dropna(axis="columns", how="all") for one in found]
    return pd.concat(filled, ignore_index=True).reindex(columns=found[0].columns)


def resumable(writer: store.RunWriter, error: BaseException) -> GapbenchError:
    """Return the error that ended a run's measuring, with what is left of the run and how to go on."""
    writer.release()
    what = "out of memory" if isinstance(error, MemoryError) else str(error)
    remedy = f"mend that and go on with: gapbench run --resume {writer.id}"
    return GapbenchError(f"{what}; all rounds before that are kept; {remedy}")


def _earlier(samples: pd.DataFrame) -> list[engine.RoundMeasured]:
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
        rounds.append(engine.RoundMeasured(of, number, process, names, RoundResult(batches), sides, str(condition)))
    return rounds


def counts(results: pd.DataFrame) -> dict[str, int]:
    """Return how many rows have each status, those that occur."""
    found = results["status"].value_counts()
    return {status: int(found[status]) for status in records.STATUSES if status in found}
