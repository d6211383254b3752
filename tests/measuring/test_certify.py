"""Certificates: what is planted is really there, what is counted is right, and nothing measured is lost."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import environment
from gapbench.measuring import certify
from gapbench.statistics import verdicts
from gapbench.statistics.verdicts import Verdict
from gapbench.store.certificates import TrialRow
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case

CASES = ("small", "large")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(certify, "_DRAWS", 10)


SCREENING, FRESH = 13, 16


def comparison(number, rng, change=0.0, case="small", scatter=0.004, others=1):
    """Return the rows of a comparison with known scatter, decided by the rules of ``ab``."""
    rows = []
    for name in CASES[: others + 1]:
        planted = change if name == case else 0.0
        first, fresh = (
            verdicts.paired(rng.normal(np.log1p(planted), scatter, rounds), 0.01) for rounds in (SCREENING, FRESH)
        )
        asked = verdicts.needs_confirmation(first)
        judged, *_ = verdicts.decide([first] * 2, [fresh if asked else None, None])
        shown = (fresh if asked else first).change.exp()
        verdict = judged.verdict
        numbers = (shown.estimate, shown.low, shown.high, FRESH if asked else SCREENING, SCREENING if asked else None)
        rows.append(TrialRow(number, name, planted, str(verdict), *numbers))
    return rows


def comparisons(count, seed=0, scatter=0.004):
    rng = np.random.default_rng(seed)
    planted = [(case, change) for case in CASES for change in (0.0, *certify.CHANGES)]
    return [
        row
        for number in range(count)
        for row in comparison(
            number, rng, planted[number % len(planted)][1], planted[number % len(planted)][0], scatter
        )
    ]


def test_false_reds_are_counted_by_comparison_with_an_exact_bound():
    rows = comparisons(60)
    certificate = certify.certificate(rows, "2026-11-30T00:00:00Z", "cpu")
    red = {row.trial for row in rows if row.verdict == "regressed" and row.change == 0}
    assert (certificate.false_red.runs, certificate.false_red.red) == (60, len(red))
    none = certify.certificate([row for row in rows if row.trial not in red], "", "cpu").false_red
    assert none.upper == pytest.approx(1 - 0.05 ** (1 / none.runs))  # no event in n: Clopper and Pearson in closed form


def test_a_red_row_beside_the_planted_one_is_a_false_red():
    rows = [TrialRow(0, "small", 0.05, "regressed", 1.05), TrialRow(0, "large", 0.0, "regressed", 1.02)]
    certificate = certify.certificate(rows, "", "cpu")
    assert (certificate.false_red.red, certificate.power[-1].found) == (1, 1)


def test_larger_changes_are_found_more_often_and_the_interval_holds_the_share():
    power = certify.certificate(comparisons(80), "", "cpu").power
    shares = [each.found / each.trials for each in power]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(each.low <= each.found / each.trials <= each.high for each in power)
    assert power[-1].measured == pytest.approx(1.05, abs=0.003)


def test_the_second_half_is_as_the_first_predicts(monkeypatch):
    """Predictions and held-out counts agree within what chance allows, on trials made by another generator."""
    monkeypatch.setattr(certify, "_DRAWS", 40)
    for seed, scatter in ((1, 0.003), (2, 0.006)):
        certificate = certify.certificate(comparisons(160, seed, scatter), "", "cpu")
        for power in certificate.power:
            assert power.held_out == 16
            share = min(max(power.predicted, 0.02), 0.98)
            assert binomtest(power.held_out_found, power.held_out, share).pvalue > 0.01, power


def test_without_trials_there_is_no_number():
    (power, *_) = certify.certificate([TrialRow(0, "small", 0.05, "failed_head")], "", "cpu").power
    assert (power.trials, power.low, power.high, power.measured, power.predicted) == (0, None, None, None, None)


def test_each_change_of_each_case_is_planted_once_a_block():
    trials = object.__new__(certify._Trials)
    trials._cases = [Case((1, 2, 3, 3)), Case((1, 4, 3, 3))]
    secret = trials.secret()
    block = [next(secret) for _ in range(10)]
    assert sorted(change for _, change in block) == sorted([0.0, *certify.CHANGES] * 2)
    assert len(set(block)) == 10


def test_what_is_planted_averages_and_sums_more(tmp_path):
    case = Case((2, 4, 3, 3))
    trials = object.__new__(certify._Trials)
    trials._scratch, trials._base = tmp_path, {case: 18}
    code = (trials._version("more", {case: 7}) / "planted.py").read_text()
    module = {}
    exec(code, module)  # noqa: S102 - it is ours
    assert module["ELEMENTS"][case.shape] == 25
    x = torch.randn(case.shape)
    torch.testing.assert_close(module["pool"](x), x.mean((2, 3), keepdim=True))


def test_work_that_cannot_be_measured_cannot_be_planted(tmp_path, monkeypatch):
    monkeypatch.setattr(certify.engine, "measure", lambda plan: iter(()))
    with pytest.raises(GapbenchError, match="nothing can be planted; use a quieter machine"):
        certify._Trials(tmp_path, [Case((2, 4, 3, 3))], "host")


def test_a_busy_machine_is_refused(monkeypatch):
    busy = [Warning("load", "the load was 9.0 on 2 cores", "stop other work")]
    monkeypatch.setattr(environment, "warnings", lambda *_: busy)
    with pytest.raises(RefusedError, match=r"nothing is certified: the load was 9.0 on 2 cores; stop other work"):
        next(certify.comparisons("cpu", 60.0))


def test_comparisons_end_before_the_time_is_over(monkeypatch):
    """By a clock of its own: each comparison takes 20 s."""
    now = [0.0]
    case = Case((1, 2, 3, 3))

    def run(number, case, change):
        now[0] += 20
        return [number]

    fake = SimpleNamespace(secret=lambda: iter([(case, 0.0)] * 99), run=run)
    monkeypatch.setattr(certify, "_Trials", lambda *_: fake)
    monkeypatch.setattr(certify.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(environment, "warnings", lambda *_: [])
    about = []
    assert list(certify.comparisons("cpu", 100.0, lambda *numbers: about.append(numbers))) == [[n] for n in range(5)]
    assert about[0] == (1, 6)
    assert about[-1] == (5, 5)
    assert len(list(certify.comparisons("cpu", 1.0))) == 1  # at least one


def test_a_real_comparison_plants_what_it_says(monkeypatch):
    """Through the engine, the store and the diff, with a change that any machine shows."""
    monkeypatch.setattr(environment, "warnings", lambda *_: [])
    monkeypatch.setattr(certify, "CASES", (Case((8, 256, 14, 14)),))
    monkeypatch.setattr(certify, "CHANGES", (0.5,))
    monkeypatch.setattr(certify, "SECONDS", 2.0)
    monkeypatch.setattr(certify, "_CALIBRATION_SECONDS", 2.0)
    monkeypatch.setattr(certify._Trials, "secret", lambda self: iter([(self._cases[0], 0.5)]))
    ((row,),) = certify.comparisons("cpu", 1.0)
    assert row.change == 0.5
    assert row.verdict in {*Verdict}
    assert row.rounds > 0
    assert row.ratio > 1.1
