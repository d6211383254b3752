"""Is an open run being measured, was it left, or was it killed? As far as its files tell.

A store knows of no processes: a run that is silent for long may still be checking results or waiting for a worker.
"""

from datetime import UTC, datetime
from typing import Any

from gapbench.report import facts
from gapbench.report import format as fmt
from gapbench.run import Run
from gapbench.store import Growth, Store

RUNNING, SILENT, INTERRUPTED, COMPLETE = "running", "silent", "interrupted", "complete"

_LOUD = (RUNNING, COMPLETE, SILENT, INTERRUPTED)
"""In which order lists have them."""

_PATIENCE = 60.0
"""Seconds that a worker may stay silent where the run's settings do not say."""


def of(run: Run, growth: Growth, now: datetime) -> dict[str, Any]:
    """Return what is to be said of a run as a whole, as values for JSON.

    ``run``, ``suites``, ``started``; ``state``; ``said``, a sentence, empty where the state says all; ``command``,
    which goes on with it (null where nothing is to be done); ``elapsed`` and ``silence`` in seconds; ``rounds`` that
    are kept; whether there is something to fill a ``page`` with.
    """
    silence = max((now - growth.written).total_seconds(), 0.0)
    state = _state(run, growth, silence)
    command = None
    if state in (SILENT, INTERRUPTED):
        command = "gapbench ab" if run.is_comparison else f"gapbench run --resume {run.id}"
    return {
        "run": run.id,
        "state": state,
        "said": _said(run, state, growth, silence),
        "command": command,
        "suites": ", ".join(run.suites),
        "started": facts.when(run.started),
        "elapsed": _since(run.started, now if state == RUNNING else growth.written),
        "silence": silence,
        "rounds": growth.shards,
        # what an interrupted comparison of two sides has measured is no verdict
        "page": state == COMPLETE or (state == INTERRUPTED and growth.shards > 0 and not run.is_comparison),
    }


def _state(run: Run, growth: Growth, silence: float) -> str:
    if run.is_complete:
        return COMPLETE
    if growth.left:
        return INTERRUPTED
    # a worker that does not answer is given up after the patience, and may be tried once more
    patience = run.settings.patience or _PATIENCE
    return SILENT if silence > 2 * patience else RUNNING


def _said(run: Run, state: str, growth: Growth, silence: float) -> str:
    rounds = "1 round is" if growth.shards == 1 else f"{fmt.count(growth.shards)} rounds are"
    kept = f"{rounds} kept" if growth.shards else "nothing was measured"
    again = "such a run is not resumed, measure again with" if run.is_comparison else "go on with"
    match state:
        case "interrupted":
            return f"{kept[0].upper()}{kept[1:]}; {again}:"
        case "silent":
            return f"No round for {_minutes(silence)}, {kept}. If it was killed, {again}:"
        case "running" if not growth.shards:
            return "No round yet: results are checked first."
        case _:
            return ""


def _minutes(seconds: float) -> str:
    """Say a long time in whole minutes, so that the sentence does not change every second."""
    return fmt.duration(seconds // 60 * 60).removesuffix(" 0 s")


def _since(started: object, then: datetime) -> float | None:
    try:
        begun = datetime.fromisoformat(str(started))
    except ValueError:
        return None
    return max((then - (begun if begun.tzinfo else begun.replace(tzinfo=UTC))).total_seconds(), 0.0)


def newest_first(standings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort runs: those that are being measured come first, and the newest of them."""
    newest = sorted(standings, key=lambda one: str(one["run"]), reverse=True)
    return sorted(newest, key=lambda one: _LOUD.index(one["state"]))


def read(store: Store, run: str, now: datetime) -> dict[str, Any]:
    """Return `of` a run of the store."""
    return of(store.describe(run), store.growth(run), now)
