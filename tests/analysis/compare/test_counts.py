"""Verdicts on counts: deterministic work is seen where time shows nothing, and scatter is not work."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import CASE, side

from gapbench.analysis.compare import compare as compare_runs
from gapbench.analysis.compare import counts
from gapbench.analysis.compare.rows import MORE_WORK, Row
from gapbench.cli.diff import parse_policy
from gapbench.report import diff as formats
from gapbench.report.diff import lines
from gapbench.statistics.verdicts import Verdict

KEY = ("case", "pool", "host", "kept")
ROW = Row("quick", *KEY[:3], "pool", Verdict.EQUIVALENT, rounds=12, memory="kept")


def samples(name, values, turns=3):
    """Return the samples of one contender whose rounds have these counts."""
    index = dict(zip(("case", "implementation", "clock", "memory"), KEY, strict=True))
    rounds = np.repeat(np.arange(len(values)), turns)
    return pd.DataFrame({**index, "round": rounds, name: np.repeat(np.asarray(values, dtype=float), turns)})


def compared(name, base, head, together=True, results=(None, None)):
    sides = samples(name, base), samples(name, head)
    of = tuple({KEY: result} if result else {} for result in results)
    return counts.with_counts({KEY: ROW}, sides, of, 0.01, together)[KEY].counts


@pytest.mark.parametrize("together", [True, False])
def test_six_per_cent_more_instructions_are_seen(together):
    (count,) = compared("instructions", [1000, 1001, 999] * 5, [1060, 1061, 1059] * 5, together)
    assert (count.name, count.verdict) == ("instructions", "more")
    assert count.ratio == pytest.approx(1.06, abs=0.001)
    (fewer,) = compared("instructions", [1060, 1061] * 6, [1000, 1001] * 6, together)
    assert fewer.verdict == "fewer"


@pytest.mark.parametrize("together", [True, False])
@given(st.integers(0, 2**32))
def test_scatter_is_no_work(together, seed):
    """By a wide margin: of identical work 1 in 100 may seem changed, and thousands of seeds are drawn."""
    rng = np.random.default_rng(seed)
    base, head = (1000 * np.exp(rng.normal(0, 0.001, 12)) for _ in range(2))
    (count,) = compared("page_faults", base, head, together)
    assert count.verdict == "same"


def test_few_rounds_cannot_decide():
    (count,) = compared("instructions", [1000, 1001], [1060, 1061])
    assert count.verdict == "inconclusive"


def test_no_faults_are_not_infinitely_fewer():
    (count,) = compared("page_faults", [0.0] * 12, [0.2] * 12)
    assert (count.verdict, count.ratio) == ("same", 1.0)
    (count,) = compared("page_faults", [0.0] * 12, [700.0] * 12)
    assert (count.verdict, count.ratio) == ("more", pytest.approx(700))


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [(4096, 4096, "same"), (4096, 8192, "more"), (8192, 0, "fewer")]
)
def test_bytes_are_compared_exactly(before, after, verdict):
    empty = compared("nothing", [1], [1], results=({"allocated_bytes": before}, {"allocated_bytes": after}))
    assert [(count.name, count.base, count.head, count.verdict) for count in empty] == [
        ("allocated_bytes", before, after, verdict)
    ]


def test_what_was_not_counted_has_no_verdict():
    assert compared("instructions", [np.nan] * 12, [np.nan] * 12) == ()
    assert compared("nothing", [1], [1], results=({"allocated_bytes": None}, {"allocated_bytes": 5})) == ()
    untested = replace(ROW, rounds=None, verdict=Verdict.ADDED)
    frames = samples("instructions", [1] * 12), samples("instructions", [2] * 12)
    assert counts.with_counts({KEY: untested}, frames, ({}, {}), 0.01, together=True)[KEY].counts == ()


def counted_pair(**of_head):
    """Return two runs of the same times, in which head's `fast` has other counts."""
    base, head = (side(f"2026112{day}T101112Z-abc1234-0001", spread=0.001, common=0.001, seed=day) for day in (1, 2))
    frames = []
    for run, factors in ((base, {}), (head, of_head)):
        frame = run.samples.assign(instructions=5000.0, page_faults=0.0)
        for name, factor in factors.items():
            frame.loc[frame["implementation"] == "fast", name] *= factor
        frames.append(replace(run, samples=frame))
    return frames


def test_more_work_is_a_verdict_beside_an_unchanged_time():
    diff = compare_runs(*counted_pair(instructions=1.06))
    (row,) = [row for row in diff.rows if row.implementation == "fast"]
    assert row.verdict in (Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
    first, last = lines.work(diff)
    assert first == f"fast, {CASE.id}: +6.0% instructions (5,000 → 5,300 a call); time: no difference shown"
    assert last.startswith("counts do not show waiting for memory")
    assert first in formats.table(diff)
    (document,) = [case for case in json.loads(formats.document(diff))["cases"] if case["implementation"] == "fast"]
    assert {"name": "instructions", "verdict": "more"}.items() <= document["counts"][0].items()
    assert MORE_WORK in diff.outcomes
    assert parse_policy("more_work") & diff.outcomes
    assert not parse_policy("regressed,failed_head") & diff.outcomes


def test_less_work_hits_no_policy():
    diff = compare_runs(*counted_pair(instructions=0.9))
    assert "-10.0% instructions" in lines.work(diff)[0]
    assert MORE_WORK not in diff.outcomes


def test_equal_work_says_nothing():
    assert lines.work(compare_runs(*counted_pair())) == []
    assert "counts" not in formats.table(compare_runs(*counted_pair()))
