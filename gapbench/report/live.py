"""A run while it is measured, from its plan and the rounds that are stored: what is done, and who is ahead.

All of it is preliminary. Who does not take part, and why, is stored at the run's end; here are those that took part in
the newest round of their case. Times, ratios and ties are those of `summary`, over the rounds so far.
"""

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from gapbench import records, summary
from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.measuring.stopping import StoppingRule
from gapbench.records import Qualification
from gapbench.report import format as fmt
from gapbench.report import rows, standing
from gapbench.run import Run, Settings
from gapbench.stats import Floats, location
from gapbench.store import Store
from gapbench.store.tables import frame

State = dict[str, Any]

MOST_CASES = 200
"""Cases that a page lists; of more, those that were measured last."""

_NUMBERS = ("seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high")


@dataclass(slots=True)
class _Entry:
    """A planned case and what is stored of it; ``clocks`` holds what is known by each, once there are rounds."""

    suite: str | None
    case: Case
    planned: tuple[str, ...]
    reference: str | None
    facts: str
    shards: list[pd.DataFrame] = field(default_factory=list)
    newest: int = -1
    rounds: int = 0
    done: bool = False
    clocks: dict[str, State] = field(default_factory=dict)


class Follower:
    """A run, read as it grows: each shard once, and of the cases only those that got rounds are weighed again."""

    def __init__(self, store: Store, run: str) -> None:
        self._store, self._run = store, run
        self._entries: dict[str, _Entry] | None = None
        self._shards = 0
        self._lock = threading.Lock()

    def state(self, now: datetime | None = None) -> State:
        """Return what there is to show, as plain values for JSON. Raises `GapbenchError` for what cannot be read.

        That is what `standing.of` says, ``facts`` as terms and texts, ``budget`` in seconds, ``counts`` of cases by
        state (done: every ratio is known to the target), ``cases`` (see `_listed`) and how many are ``left_out``.
        """
        with self._lock:
            try:
                return self._state(now or datetime.now(UTC))
            except GapbenchError:  # a run that ends loses its shards between one look and the next
                if not self._store.describe(self._run).is_complete:
                    raise
                return self._state(now or datetime.now(UTC))

    def _state(self, now: datetime) -> State:
        run = self._store.describe(self._run)
        whole = standing.of(run, self._store.growth(self._run), now)
        settings = run.settings
        if self._entries is None:
            self._entries = _planned(run)
        if whole["state"] != standing.COMPLETE:
            self._read(StoppingRule(settings.rounds or 1, settings.target or 0.0))
        entries = list(self._entries.values())
        shown = sorted(sorted(range(len(entries)), key=lambda place: -entries[place].newest)[:MOST_CASES])
        states = [_state_of(entry) for entry in entries]
        counts = {name: states.count(name) for name in ("done", "in progress", "waiting")}
        if whole["state"] == standing.RUNNING and whole["rounds"]:
            whole["said"] = f"{fmt.count(counts['done'])} of {fmt.count(len(entries))} cases are done."
        return {
            **whole,
            "facts": _facts(whole, settings),
            "budget": settings.budget,
            "counts": counts,
            "cases": [one for place in shown for one in _listed(entries[place])],
            "left_out": len(entries) - len(shown),
        }

    def _read(self, rule: StoppingRule) -> None:
        """Take in the shards that are new."""
        entries, changed = self._entries or {}, set()
        for number, table in enumerate(self._store.shards(self._run, start=self._shards), self._shards):
            for case, samples in frame([table], records.SAMPLES).groupby("case"):
                if (entry := entries.get(str(case))) is not None:
                    entry.shards.append(samples)
                    entry.newest = number
                    changed.add(str(case))
            self._shards = number + 1
        for case in changed:
            _weigh(entries[case], rule)


def _planned(run: Run) -> dict[str, _Entry]:
    plan = run.plan or ()
    cases = [replace(Case.from_id(one.case), label=one.label) for one in plan]
    columns = pd.DataFrame([records.case_columns(case) for case in cases])
    told = ["shape", "dtype", "layout", *rows.varying(columns, ("operation", "device", "pass", "threads"))]
    return {
        case.id: _Entry(
            one.suite,
            case,
            tuple(one.specs),
            one.reference,
            ", ".join(rows.fact(name, described[name]) for name in told),
        )
        for one, case, described in zip(plan, cases, rows.records(columns), strict=True)
    }


def _weigh(entry: _Entry, rule: StoppingRule) -> None:
    """Find out what the rounds of a case say by now."""
    samples = pd.concat(entry.shards, ignore_index=True)
    entry.shards = [samples]
    entry.rounds = int(samples["round"].nunique())
    mine = samples[samples["contender"] == records.THIS]  # of two sides, verdicts come at the end
    known = {str(clock): _by_clock(entry, part) for clock, part in mine.groupby("clock")}
    entry.done = bool(known) and all(rule.reached(one.tolist() for one in ratios) for ratios, _ in known.values())
    entry.clocks = {clock: found for clock, (_, found) in known.items()}


def _by_clock(entry: _Entry, samples: pd.DataFrame) -> tuple[list[Floats], State]:
    """Return each contender's log ratio by round, and who is ahead."""
    newest = samples.loc[samples["round"] == samples["round"].max(), "implementation"]
    names = [name for name in entry.planned if name in set(newest)]
    samples = samples[samples["implementation"].isin(names)]
    clock = str(samples["clock"].iloc[0])
    outcomes = [
        summary.Outcome(entry.suite, entry.case, name, clock, Qualification(), None, entry.reference) for name in names
    ]
    turns = summary.log_seconds(samples)
    ratios = [_log_ratios(turns, name, entry.reference) for name in names]
    found: State = {
        "contenders": len(names),
        "half_width": _finite(max((location(one).half_width for one in ratios), default=None)),
    }
    for best in rows.records(summary.winners(summary.results(samples, outcomes), samples)):
        found |= {name: best[name] for name in ("implementation", "reference", "ties")}
        found |= {name: _finite(best[name]) for name in _NUMBERS}
    return ratios, found


def _log_ratios(turns: pd.DataFrame, name: str, reference: str | None) -> Floats:
    """Return what the run's stopping rule looks at: log ratios by round, log seconds where there is no reference."""
    if reference is not None and reference in turns:
        return summary.log_ratios(turns, name, reference)
    return turns[name].dropna().groupby("round").median().to_numpy()


def _facts(whole: State, settings: Settings) -> list[tuple[str, str]]:
    budget, target = settings.budget, settings.target
    spent = fmt.duration(whole["elapsed"]) + (f" of {fmt.duration(budget)}" if budget else "")
    newest = f"{fmt.duration(whole['silence'])} ago" if whole["rounds"] else fmt.MISSING
    facts = [("Time", spent), ("Rounds", fmt.count(whole["rounds"])), ("Newest round", newest)]
    return facts + ([("Target", f"±{100 * target:g} %")] if target else [])


def _state_of(entry: _Entry) -> str:
    if entry.done:
        return "done"
    return "in progress" if entry.rounds else "waiting"


def _listed(entry: _Entry) -> list[State]:
    """Return the rows of a case, one for each clock that has timed it.

    ``case``, ``label``, ``facts``, ``state``, ``rounds``, ``clock``, ``contenders``; ``half_width``, that of the widest
    interval of a log ratio; ``implementation``, the fastest so far, with its numbers and ``ties``. Null is not known.
    """
    common = {
        "case": entry.case.id,
        "label": entry.case.label,
        "facts": entry.facts,
        "state": _state_of(entry),
        "rounds": entry.rounds,
    }
    unknown: State = dict.fromkeys(("contenders", "half_width", "implementation", "reference", *_NUMBERS))
    several = len(entry.clocks) > 1
    return [
        {**common, "clock": clock if several else None, **unknown, "ties": [], **found}
        for clock, found in (entry.clocks or {"": {}}).items()
    ]


def _finite(value: Any) -> float | None:
    return None if fmt.missing(value) or value in (float("inf"), float("-inf")) else float(value)
