"""Certify a machine: compare code with itself and with planted slowdowns, as ``gapbench ab`` does, and count.

Which case is slowed down by how much is drawn at random, and looked at only when all verdicts are there.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random, SystemRandom
from statistics import median

import numpy as np

from gapbench.analysis.compare import MARGIN, Row, Side, interleaved
from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import environment
from gapbench.machine.devices import device as find_device
from gapbench.measuring import engine, events, plan, recording
from gapbench.measuring.doctor import CASES
from gapbench.statistics import stats, verdicts
from gapbench.statistics.verdicts import Verdict
from gapbench.store import run
from gapbench.store.certificates import Certificate, FalseRed, Power, TrialRow
from gapbench.store.records import BASE, HEAD, NULL, THIS
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

CHANGES = (0.01, 0.02, 0.03, 0.05)
SECONDS = 15.0  # of one comparison: 5 s for each of 3 cases, as `ab` has by default for the 12 of the suite ci

_FILE = "planted.py"
_SOURCE = '''"""Average pooling, and before it a sum over so many further elements."""

ELEMENTS = {elements}


def pool(x):
    x.view(-1)[: ELEMENTS[x.shape]].sum()
    return x.mean((2, 3), keepdim=True)
'''
_SHARE = 4  # the part of its elements that base sums up too, so that a longer sum costs elements and no calls
_CALIBRATION_SECONDS = 12.0
_SHORTEST_EFFECT = 0.02  # of twice the sum, below which its cost is not known well enough to plant per cents
_DRAWS = 100
_NORMAL = 1.96  # standard errors on either side of an estimate in its 95 % interval


def comparisons(
    device: str, seconds: float, observe: Callable[[int, int], None] = lambda _number, _about: None
) -> Iterator[list[TrialRow]]:
    """Yield the rows of one comparison after the other, at least of one, until ``seconds`` have passed.

    ``observe`` is told its number and about how many there will be. Raises `RefusedError` on a machine with other work.
    """
    target, begin = find_device(device), time.monotonic()
    machine = environment.describe(target.name).machine
    for warning in environment.warnings(environment.snapshot(), None, machine):
        if warning.topic == "load":
            raise RefusedError(f"nothing is certified: {warning.evidence}; stop other work, and try again")
    with tempfile.TemporaryDirectory(prefix="gapbench-certify-") as scratch:
        trials = _Trials(Path(scratch), [Case(case.shape, device=target.name) for case in CASES], target.clocks[0])
        each = SECONDS
        for number, (case, change) in enumerate(trials.secret()):
            left = begin + seconds - time.monotonic()
            if number and left < each:
                return
            observe(number + 1, number + max(1, int(left / each)))
            trial = time.monotonic()
            yield trials.run(number, case, change)
            each = max(SECONDS, time.monotonic() - trial)


class _Trials:
    def __init__(self, scratch: Path, cases: Sequence[Case], clock: str) -> None:
        self._scratch, self._cases, self._clock = scratch, cases, clock
        self._store = Store(str(scratch / "runs"))
        self._base = {case: case.elements // _SHARE for case in cases}
        self._costs = self._calibrated()

    def secret(self) -> Iterator[tuple[Case, float]]:
        """Yield which case is slowed down by how much: in random order each change of each case, and as often none."""
        while True:
            block = [(case, change) for case in self._cases for change in (0.0, *CHANGES)]
            yield from SystemRandom().sample(block, len(block))

    def _calibrated(self) -> dict[Case, float]:
        """Measure by how much a call takes longer, as a share, for each element that is summed up more."""
        once, twice = self._version("once"), self._version("twice", self._base)
        specs = {name: f"{folder / _FILE}:pool" for name, folder in (("once", once), ("twice", twice))}
        plans = [plan.CasePlan("certify", case, specs, (self._clock,), reference="once") for case in self._cases]
        effort = plan.Effort(budget=_CALIBRATION_SECONDS, target=1e-9, race=False)
        ratios: dict[Case, list[float]] = {case: [] for case in self._cases}
        for event in engine.measure(plan.Plan(tuple(plans), effort)):
            if isinstance(event, events.Qualified) and event.qualification.reason:
                raise GapbenchError(f"the planted work does not run here: {event.qualification.reason}")
            if isinstance(event, events.RoundMeasured):
                turns = event.by_turn(self._clock)
                ratios[event.case].append(stats.round_log_ratio(turns[THIS, "twice"], turns[THIS, "once"]))
        effects = {case: math.expm1(median(values)) if values else 0.0 for case, values in ratios.items()}
        for case, effect in effects.items():
            if effect < _SHORTEST_EFFECT:
                raise GapbenchError(
                    f"on {case.id} {self._base[case]:,} more elements change the time by {effect:+.1%}, so nothing "
                    "can be planted; use a quieter machine"
                )
        return {case: effect / self._base[case] for case, effect in effects.items()}

    def _version(self, name: str, more: Mapping[Case, int] | None = None) -> Path:
        folder = self._scratch / name
        folder.mkdir()
        elements = {case.shape: count + (more or {}).get(case, 0) for case, count in self._base.items()}
        (folder / _FILE).write_text(_SOURCE.format(elements=elements), encoding="utf-8")
        return folder

    def run(self, number: int, case: Case, change: float) -> list[TrialRow]:
        """Compare a version in which ``case`` is slower by ``change`` with the plain one."""
        more = {case: round(change / self._costs[case])}
        base, head = (plan.Source(self._version(f"{number}-{name}", of)) for name, of in (("base", {}), ("head", more)))
        sides = (plan.Side(BASE, base), plan.Side(HEAD, head), plan.Side(NULL, base))
        specs = {"pool": f"{_FILE}:pool"}
        plans = [plan.CasePlan("certify", each, specs, (self._clock,)) for each in self._cases]
        effort = plan.Effort(budget=SECONDS, seed=Random(number).getrandbits(32))
        writer = recording.begin(
            self._store, plans, effort, ["gapbench"],
            sides=(run.Side(BASE, BASE), run.Side(HEAD, HEAD)), comparison=run.Comparison(MARGIN, (BASE, HEAD)),
        )  # fmt: skip
        recorded = recording.record(writer, plan.Plan(tuple(plans), effort, sides))
        if recorded.interrupted:
            raise KeyboardInterrupt
        difference = interleaved(Side(recorded.run, recorded.results, recorded.samples))
        compared = recorded.run.comparison
        flagged = {row.case: row.round for row in (compared and compared.flagged) or ()}
        return [_row(number, row, change if row.case == case.id else 0.0, flagged) for row in difference.rows]


def _row(number: int, row: Row, change: float, flagged: Mapping[str, int]) -> TrialRow:
    numbers = (row.ratio, row.ratio_low, row.ratio_high, row.rounds, flagged.get(row.case))
    return TrialRow(number, row.case, change, str(row.verdict), *numbers)


def certificate(rows: Sequence[TrialRow], started: str, device: str) -> Certificate:
    """Count false reds and what was found, and predict the second half of the comparisons from the first."""
    cases = tuple(dict.fromkeys(row.case for row in rows))
    runs = {row.trial for row in rows}
    red = {row.trial for row in rows if not row.change and row.verdict == Verdict.REGRESSED}
    half = sorted(runs)[len(runs) // 2]
    before, after = ([row for row in rows if (row.trial < half) == early] for early in (True, False))
    planted = {(row.case, row.change) for row in after if row.change}
    predictions = {key: predicted(before, *key) for key in planted}

    def power(change: float, case: str | None = None) -> Power:
        trials, held_out = (
            [row for row in some if row.change == change and case in (None, row.case)] for some in (rows, after)
        )
        ratios = [row.ratio for row in trials if row.ratio is not None]
        shares = [share for row in held_out if (share := predictions[row.case, change]) is not None]
        low, high = _exact(_found(trials), len(trials), 0.95)
        return Power(
            change, len(trials), _found(trials), low, high, median(ratios) if ratios else None, case,
            sum(shares) / len(shares) if shares and len(shares) == len(held_out) else None,
            len(held_out), _found(held_out),
        )  # fmt: skip

    return Certificate(
        started=started, device=device, environment=environment.describe(device).compared(), seconds=SECONDS,
        margin=MARGIN, cases=cases, rows=tuple(rows), power=tuple(map(power, CHANGES)),
        by_case=tuple(power(change, case) for case in cases for change in CHANGES),
        false_red=FalseRed(len(runs), len(red), _exact(len(red), len(runs), 0.9)[1]),
    )  # fmt: skip


def _found(rows: Sequence[TrialRow]) -> int:
    return sum(row.verdict == Verdict.REGRESSED for row in rows)


def _exact(count: int, of: int, confidence: float) -> tuple[float | None, float | None]:
    """Return the two-sided exact interval of a share; its upper end is one-sided at ``(1 + confidence) / 2``."""
    from scipy.stats import binomtest

    if not of:
        return None, None
    interval = binomtest(count, of).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def predicted(before: Sequence[TrialRow], case: str, change: float) -> float | None:
    """Predict the share of changes that a comparison finds, by the scatter of earlier ones; None without that."""
    scatters = [
        math.log(row.ratio_high / row.ratio_low) / 2 / _NORMAL * row.rounds**0.5
        for row in before
        if row.case == case and not row.change and row.ratio_low and row.ratio_high and row.rounds
    ]
    rounds = [(row.screening, row.rounds) for row in before if row.screening and row.rounds]
    if not scatters or not rounds:
        return None
    scatter, (screening, fresh) = median(scatters), np.median(rounds, axis=0).astype(int).tolist()
    random, others = np.random.default_rng(0), len({row.case for row in before}) - 1

    def evidence(size: float, number: int) -> verdicts.Evidence:
        return verdicts.paired(random.normal(math.log1p(size), scatter, number), MARGIN)

    detected, unchanged = 0, evidence(0, screening)
    for _ in range(_DRAWS):
        first = evidence(change, screening)
        if verdicts.needs_confirmation(first):
            judged = verdicts.decide([first, *[unchanged] * others], [evidence(change, fresh), *[None] * others])
            detected += judged[0].verdict is Verdict.REGRESSED
    return detected / _DRAWS
