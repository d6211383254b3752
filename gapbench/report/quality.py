"""Check whether the numbers of a run can be trusted: every check with its evidence and remedy.

A run is **untrusted** if any check says so: nothing was measured, most of the selection did not work, or the numbers
have no intervals. It needs **caution** if any check says that. Otherwise it is **trusted**. A check without data is
``unknown``, and one that only limits who can use the numbers is a ``note``; neither counts against a run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd

from gapbench.report import format as fmt
from gapbench.report.loaded_run import Stored
from gapbench.statistics.stats import FEWEST_ROUNDS
from gapbench.store.records import FAILURES, SLOWER
from gapbench.store.run import Run

SHOWN = 50  # the most warnings that a page lists; the rest are counted
FEW = 0.1  # the share of ratios that may miss the target, because some implementations are noisy on any machine
TARGET = 0.01  # the half width of ratios' intervals to aim for, if the run has no target of its own


class Level(IntEnum):
    """The result of a check, worst last."""

    PASSED = 0
    NOTE = 1
    UNKNOWN = 2
    CAUTION = 3
    UNTRUSTED = 4


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a run: what was checked, the result, the evidence, and the remedy (empty if there is none)."""

    name: str
    level: Level
    evidence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """All checks of a run."""

    checks: tuple[Check, ...]

    @property
    def badge(self) -> str:
        """The overall result: ``trusted``, ``caution`` or ``untrusted``."""
        worst = max((check.level for check in self.checks), default=Level.PASSED)
        return {Level.CAUTION: "caution", Level.UNTRUSTED: "untrusted"}.get(worst, "trusted")

    @property
    def reasons(self) -> list[Check]:
        """The checks that count against the run, worst first."""
        against = [check for check in self.checks if check.level >= Level.CAUTION]
        return sorted(against, key=lambda check: -check.level)


def judge(stored: Stored) -> Trust:
    """Run every check on a run."""
    ok = stored.results[(stored.results["status"] == "ok") & stored.results["seconds"].notna()]
    checks = (
        _complete(stored.run), _measured(stored.results, ok), _correct(stored.results, ok), _intervals(ok),
        _precision(stored.run, ok), *_warnings(stored.run), _machine(stored), _ceilings(stored), _code(stored.run),
    )  # fmt: skip
    return Trust(checks)


def _complete(run: Run) -> Check:
    if run.is_complete:
        return Check("complete", Level.PASSED, "the run is complete")
    evidence = "the run is not complete: the page shows what was measured when it was written"
    return Check("complete", Level.CAUTION, evidence, f"gapbench run --resume {run.id}")


def _measured(results: pd.DataFrame, ok: pd.DataFrame) -> Check:
    able = results[results["status"] != "unsupported"]
    if ok.empty:
        remedy = "see the reasons under “Without a result”; fix them, or select others with --impl"
        return Check("measured", Level.UNTRUSTED, "nothing was measured successfully", remedy)
    evidence = f"{fmt.count(len(ok))} of {fmt.count(len(able))} that are supported here have a time"
    if len(ok) < len(able) / 2:
        return Check("measured", Level.UNTRUSTED, evidence, "fix what failed, or leave it out, and run again")
    return Check("measured", Level.PASSED, evidence)


def _correct(results: pd.DataFrame, ok: pd.DataFrame) -> Check:
    bad = results[results["status"].isin(FAILURES)]
    unchecked = int(ok["max_error"].isna().sum())
    if bad.empty and unchecked == len(ok):
        return Check("correct", Level.UNKNOWN, "no result was compared with the float64 reference")
    if bad.empty:
        but = f", except for {fmt.count(unchecked)} that were not compared" if unchecked else ""
        return Check("correct", Level.PASSED, f"every result that was ranked agrees with the float64 reference{but}")
    counts = ", ".join(f"{fmt.count(count)} {status}" for status, count in bad["status"].value_counts().items())
    names = bad["implementation"].unique()
    listed = ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    remedy = "they are not ranked; their reasons are under “Without a result”"
    return Check("correct", Level.CAUTION, f"{counts} ({listed})", remedy)


def _intervals(ok: pd.DataFrame) -> Check:
    ok = ok[ok["stopped_by"] != SLOWER]  # those have a bound instead
    lacking = int(ok["seconds_low"].isna().sum())
    if ok.empty:
        return Check("intervals", Level.UNKNOWN, "no time could have one")
    if not lacking:
        return Check("intervals", Level.PASSED, "every time has a 95 % interval over rounds of fresh processes")
    remedy = f"measure at least {FEWEST_ROUNDS} rounds: --rounds {FEWEST_ROUNDS}"
    if lacking == len(ok):
        evidence = "no time has an interval: noise and speed cannot be separated"
        return Check("intervals", Level.UNTRUSTED, evidence, remedy)
    return Check("intervals", Level.CAUTION, f"{fmt.count(lacking)} of {fmt.count(len(ok))} have no interval", remedy)


def _precision(run: Run, ok: pd.DataFrame) -> Check:
    target = run.settings.target or TARGET
    low, high = (ok[f"best_ratio_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    ratios = (low > 0) & (low < high)  # without the fastest itself, and without bounds
    if not ratios.any() and not ok["stopped_by"].eq(SLOWER).any():
        return Check("precision", Level.UNKNOWN, "no ratio to another implementation has an interval")
    half = np.log(high[ratios] / low[ratios]) / 2
    wide = half[half > target]
    if not len(wide):
        return Check("precision", Level.PASSED, f"every ratio is known to ±{100 * target:.2g} %, the run's target")
    evidence = (
        f"{fmt.count(len(wide))} of {fmt.count(len(half))} ratios are known less well than to ±{100 * target:.2g} %, "
        f"the run's target, the worst to ±{fmt.number(100 * wide.max(), 2)} %"
    )
    if len(wide) <= FEW * len(half):
        return Check("precision", Level.PASSED, evidence)
    return Check("precision", Level.CAUTION, evidence, "measure longer with --budget, on a quieter machine")


def _warnings(run: Run) -> Iterator[Check]:
    for warning in run.warnings[:SHOWN]:
        yield Check(warning.topic or "warning", Level.CAUTION, warning.evidence, warning.remedy)
    if (left := len(run.warnings) - SHOWN) > 0:
        yield Check("warning", Level.CAUTION, f"{fmt.count(left)} more warnings are in the run's run.json")
    if not run.warnings:
        yield Check("warnings", Level.PASSED, "no warning was recorded during the measurement")


def _machine(stored: Stored) -> Check:
    watched = ("sm_clock_mhz", "temperature_c", "throttle", "steal")
    recorded = [name for name in watched if name in stored.samples and stored.samples[name].notna().any()]
    recorded += ["load"] if stored.run.load_before else []
    if recorded:
        return Check("machine state", Level.PASSED, f"recorded in the run: {', '.join(recorded).replace('_', ' ')}")
    evidence = "load, clocks, throttling and stolen time could not be read"
    return Check("machine state", Level.UNKNOWN, evidence, "gapbench doctor shows what this machine lets be read")


def _ceilings(stored: Stored) -> Check:
    fractions = stored.results["ceiling_fraction"].dropna()
    if fractions.empty:
        limits = stored.run.ceilings or ()
        reasons = [limit.reason for limit in limits if limit.reason and limit.kind != "datasheet"]
        return Check("ceilings", Level.UNKNOWN, reasons[0] if reasons else "the machine's limits were not measured")
    above = fractions[fractions > 1]
    if above.empty:
        return Check("ceilings", Level.PASSED, "no time is shorter than the machine's measured limits allow")
    evidence = (
        f"{fmt.count(len(above))} of {fmt.count(len(fractions))} times are above their measured ceiling, the farthest "
        f"at {100 * above.max():.0f} %"
    )
    remedy = "a cache may hold a part of the data; if none can, a warning of the run says so"
    return Check("ceilings", Level.NOTE, evidence, remedy)


def _code(run: Run) -> Check:
    if run.git is None or run.git.commit is None:
        return Check("code", Level.NOTE, "the commit is unknown", "run inside the repository")
    commit = run.git.commit[:7]
    if run.git.dirty:
        evidence = f"commit {commit} had uncommitted changes"
        return Check("code", Level.NOTE, evidence, "commit first, so that others can reproduce it")
    return Check("code", Level.PASSED, f"commit {commit} without uncommitted changes")
