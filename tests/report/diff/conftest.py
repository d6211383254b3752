"""Provide diffs with rows of every verdict."""

from collections.abc import Callable

import pytest
from stored import CASE, two_sides

from gapbench.analysis.compare import Diff, Row
from gapbench.statistics.verdicts import Verdict

HOSTILE = "a|b`<script>alert(1)</script>\n::error::[x](http://y) @all %0A **\\"


def row(verdict: Verdict = Verdict.REGRESSED, implementation: str = "fast", **changes: object) -> Row:
    """Return a row, with a ratio if its verdict is statistical."""
    tested = verdict in (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)
    ratio = {"ratio": 1.052, "ratio_low": 1.031, "ratio_high": 1.072, "p_value": 0.001, "rounds": 12} if tested else {}
    reason = "" if tested else f"this is why it is {verdict}"
    fields = {"suite": "quick", "case": CASE.id, "implementation": implementation, "clock": "host"}
    return Row(**{**fields, "spec": implementation, "verdict": verdict, "reason": reason, **ratio, **changes})


def diff_of(*rows: Row, **changes: object) -> Diff:
    """Return a diff of ``rows``."""
    base, head = (item.run for item in two_sides(rounds=1))
    return Diff(**{"base": base, "head": head, "margin": 0.01, "rows": rows, **changes})


@pytest.fixture
def make_row() -> Callable[..., Row]:
    """`row`, for tests."""
    return row


@pytest.fixture
def make() -> Callable[..., Diff]:
    """`diff_of`, for tests."""
    return diff_of


@pytest.fixture
def every() -> Diff:
    """A diff with a row of each verdict, least urgent first."""
    return diff_of(*(row(verdict, f"impl_{verdict}") for verdict in reversed(Verdict)))


@pytest.fixture
def hostile() -> str:
    """A name with markup of every kind."""
    return HOSTILE
