"""Can the numbers of a run be trusted? Every check with its evidence and remedy, and what they amount to.

A run is **untrusted** if any check says so: nothing was measured, most of what was selected did not work, or the
numbers have no intervals. It calls for **caution** if any check does. Otherwise it is **trusted**. What could not be
found out is ``unknown``, and what only limits whom the numbers serve is a ``note``: neither counts against a run.
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

SHOWN = 50
"""Warnings that a page lists; the rest are counted."""

FEW = 0.1
"""The share of ratios that may miss the target: some implementations are noisy wherever they run."""

TARGET = 0.01
"""How well ratios should be known where a run does not say."""


class Level(IntEnum):
    """What a check says of a run, the worst last."""

    PASSED = 0
    NOTE = 1
    UNKNOWN = 2
    CAUTION = 3
    UNTRUSTED = 4


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what it says, what was seen, and what to do about it (empty where nothing is to be done)."""

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
        """The run in a word: ``trusted``, ``caution`` or ``untrusted``."""
        worst = max((check.level for check in self.checks), default=Level.PASSED)
        return {Level.CAUTION: "caution", Level.UNTRUSTED: "untrusted"}.get(worst, "trusted")

    @property
    def reasons(self) -> list[Check]:
        """The checks that count against the run, the worst first."""
        against = [check for check in self.checks if check.level >= Level.CAUTION]
        return sorted(against, key=lambda check: -check.level)


def judge(stored: Stored) -> Trust:
    """Return every check of a run."""
    ok = stored.results[(stored.results["status"] == "ok") & stored.results["seconds"].notna()]
    checks = (
        _complete(stored.run),
        _measured(stored.results, ok),
        _correct(stored.results, ok),
        _intervals(ok),
        _precision(stored.run, ok),
        *_warnings(stored.run),
        _machine(stored),
        _ceilings(stored),
        _code(stored.run),
    )
    return Trust(checks)


def _complete(run: Run) -> Check:
    if run.is_complete:
        return Check("complete", Level.PASSED, "the run ended by itself")
    evidence = "the run is not complete: the page shows what had been measured when it was written"
    return Check("complete", Level.CAUTION, evidence, f"gapbench run --resume {run.id}")


def _measured(results: pd.DataFrame, ok: pd.DataFrame) -> Check:
    able = results[results["status"] != "unsupported"]
    if ok.empty:
        remedy = "see the reasons under “Without a result”; fix them, or select others with --impl"
        return Check("measured", Level.UNTRUSTED, "nothing was measured successfully", remedy)
    evidence = f"{fmt.count(len(ok))} of {fmt.count(len(able))} that can run here gave a time"
    if len(ok) < len(able) / 2:
        return Check("measured", Level.UNTRUSTED, evidence, "fix what failed, or leave it out, and run again")
    return Check("measured", Level.PASSED, evidence)


def _correct(results: pd.DataFrame, ok: pd.DataFrame) -> Check:
    bad = results[results["status"].isin(FAILURES)]
    unchecked = int(ok["max_error"].isna().sum())
    if bad.empty and unchecked == len(ok):
        return Check("correct", Level.UNKNOWN, "no result was compared with the float64 reference")
    if bad.empty:
        but = f", but for {fmt.count(unchecked)} that were not compared" if unchecked else ""
        return Check("correct", Level.PASSED, f"every result that was ranked agrees with the float64 reference{but}")
    counts = ", ".join(f"{fmt.count(count)} {status}" for status, count in bad["status"].value_counts().items())
    names = bad["implementation"].unique()
    listed = ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    remedy = "they are not ranked; their reasons are under “Without a result”"
    return Check("correct", Level.CAUTION, f"{counts} ({listed})", remedy)


def _intervals(ok: pd.DataFrame) -> Check:
    ok = ok[ok["stopped_by"] != SLOWER]  # which is known by a bound
    lacking = int(ok["seconds_low"].isna().sum())
    if ok.empty:
        return Check("intervals", Level.UNKNOWN, "there is no time that could have one")
    if not lacking:
        return Check("intervals", Level.PASSED, "every time has a 95 % interval over rounds of fresh processes")
    remedy = f"measure at least {FEWEST_ROUNDS} rounds: --rounds {FEWEST_ROUNDS}"
    if lacking == len(ok):
        return Check("intervals", Level.UNTRUSTED, "no time has an interval: noise cannot be told from speed", remedy)
    return Check("intervals", Level.CAUTION, f"{fmt.count(lacking)} of {fmt.count(len(ok))} have no interval", remedy)


def _precision(run: Run, ok: pd.DataFrame) -> Check:
    target = run.settings.target or TARGET
    low, high = (ok[f"best_ratio_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    ratios = (low > 0) & (low < high)  # none to itself, and none that is known by a bound
    if not ratios.any() and not ok["stopped_by"].eq(SLOWER).any():
        return Check("precision", Level.UNKNOWN, "no ratio to another implementation has an interval")
    half = np.log(high[ratios] / low[ratios]) / 2
    wide = half[half > target]
    if not len(wide):
        return Check("precision", Level.PASSED, f"every ratio is known to ±{100 * target:.2g} %, the run's target")
    evidence = (
        f"{fmt.count(len(wide))} of {fmt.count(len(half))} ratios are known less well than to ±{100 * target:.2g} %, "
        f"the run's target, the worst to ±{100 * wide.max():.2g} %"
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
        yield Check("warnings", Level.PASSED, "nothing untoward was noticed while it was measured")


def _machine(stored: Stored) -> Check:
    watched = ("sm_clock_mhz", "temperature_c", "throttle", "steal")
    seen = [name for name in watched if name in stored.samples and stored.samples[name].notna().any()]
    seen += ["load"] if stored.run.load_before else []
    if seen:
        return Check("machine state", Level.PASSED, f"watched during the run: {', '.join(seen).replace('_', ' ')}")
    evidence = "neither load nor clocks, throttling or stolen time could be read"
    return Check("machine state", Level.UNKNOWN, evidence, "see what this machine lets be read: gapbench doctor")


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
    remedy = "a cache that holds a part of the data may serve it; where none can, a warning of the run says so"
    return Check("ceilings", Level.NOTE, evidence, remedy)


def _code(run: Run) -> Check:
    if run.git is None or run.git.commit is None:
        return Check("code", Level.NOTE, "the commit is not known", "run inside the repository")
    commit = run.git.commit[:7]
    if run.git.dirty:
        return Check("code", Level.NOTE, f"commit {commit} had uncommitted changes", "commit, so that others find it")
    return Check("code", Level.PASSED, f"commit {commit} without uncommitted changes")
