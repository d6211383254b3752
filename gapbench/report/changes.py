"""What a run's page says of change: against which run, and how many rows have each verdict."""

from gapbench.compare import Diff, compare
from gapbench.errors import GapbenchError
from gapbench.report.stored import Stored, earlier, side
from gapbench.run import differences
from gapbench.store import Store
from gapbench.verdicts import Verdict

MOST_ROWS = 1000
"""Runs of more rows are compared only where a baseline is named: weighing takes milliseconds a row."""

_ALWAYS = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
"""Verdicts whose count is said even where it is 0."""


def counts(diff: Diff) -> list[tuple[Verdict, int]]:
    """Return how many rows have each verdict, most pressing first."""
    return [(one, diff.summary.get(one, 0)) for one in Verdict if one in _ALWAYS or one in diff.summary]


def against(store: Store, stored: Stored, baseline: str | None) -> tuple[Diff | None, str]:
    """Return what changed from a run's baseline, or None and a sentence that says why nothing was compared.

    Without a ``baseline`` it is the newest earlier complete run of the same suites in the same environment. Raises
    `GapbenchError` where a baseline that was named cannot be compared with.
    """
    if baseline is not None:
        return _compared(store, baseline, stored), ""
    if not stored.run.is_complete:
        return None, f"no baseline: the run is not complete; gapbench run --resume {stored.run.id} completes it"
    if len(stored.results) > MOST_ROWS:
        remedy = f"gapbench report {stored.run.id} --baseline RUN"
        return None, f"not compared: with {len(stored.results):,} rows that takes a while; compare with: {remedy}"
    for run, described in reversed(store.listing().runs.items()):
        alike = described.is_complete and described.suites == stored.run.suites
        if run < stored.run.id and alike and not differences(described.environment, stored.run.environment):
            try:
                return _compared(store, run, stored), ""
            except GapbenchError:  # one that cannot be read or has nothing in common is no baseline
                continue
    return None, "no baseline: no earlier run of the same suites in this environment; name one with --baseline RUN"


def _compared(store: Store, baseline: str, stored: Stored) -> Diff:
    base = side(store, baseline)
    return compare(base, stored, earlier=earlier(store, base, stored))
