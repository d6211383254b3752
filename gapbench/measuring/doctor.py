"""Check whether this machine is fit to measure: its state, and a short A/A test of identical code."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gapbench.machine import environment
from gapbench.machine.devices import device as find_device
from gapbench.measuring import counts, engine, events, memory, worker, worker_env
from gapbench.measuring.forkserver import ForkServer, WorkerTimeoutError, how_it_ended
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.protocol import Answer, WorkerExit
from gapbench.measuring.selftest import Finding
from gapbench.statistics import stats
from gapbench.store.records import THIS
from gapbench.workloads.cases import Case

CASES: tuple[Case, ...] = (Case((1, 64, 32, 32)), Case((8, 2048, 7, 7)), Case((4, 256, 56, 56)))
"""Small, medium and large: `mean` took 5 µs, 70 µs and 0.4 ms a call on the CPU for which they were chosen."""

DIFF_SECONDS, DIFF_CASES, MARGIN = 60.0, 12, 0.01
"""The diff for which the smallest detectable slowdown is computed: a minute for 12 cases, at the default margin."""

LARGEST_USEFUL = 0.05  # largest detectable slowdown of a fit machine: one whose diff misses a slowdown of 5 % is unfit

_UNFIT = ("load", "stolen time")
_PATIENCE = 1800.0  # timeout in seconds of the self-test's worker


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: ``status`` is ok, caution, unfit or unknown (it could not be read)."""

    name: str
    status: str
    evidence: str


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The A/A test: standard deviation and median of a round's log ratio, and the seconds of a case's round."""

    spread: float
    round_seconds: float
    bias: float

    @property
    def detectable(self) -> float:
        """The smallest slowdown that a diff of `DIFF_CASES` cases in `DIFF_SECONDS` finds 95 times in 100."""
        rounds = int(DIFF_SECONDS / DIFF_CASES / self.round_seconds)
        return stats.smallest_detectable(self.spread, rounds, DIFF_CASES, MARGIN)


def examine(device: str, seconds: float) -> Iterator[Check]:
    """Yield all checks, the last of them the noise floor by an A/A test of about ``seconds``."""
    machine = environment.describe(device).machine
    before = environment.snapshot()
    floor = noise_floor(device, seconds)
    after = environment.snapshot()
    warnings = environment.warnings(before, after, machine)
    for topic in environment.TOPICS:
        evidence = " ".join(str(warning) for warning in warnings if warning.topic == topic)
        status = ("unfit" if topic in _UNFIT else "caution") if evidence else "ok"
        yield Check(topic, status, evidence or "no problem found")
    unread = machine.unreadable | ({"instructions": refused} if (refused := counts.reason()) else {})
    for name, reason in unread.items():
        yield Check(name, "unknown", f"could not be read: {reason}")
    if isinstance(floor, str):
        yield Check("noise floor", "unknown", f"nothing could be measured: {floor}")
        return
    useful = floor.detectable <= LARGEST_USEFUL
    yield Check(
        "noise floor",
        "ok" if useful else "unfit",
        f"identical code differs by {floor.spread:.2%} from round to round (on average by {floor.bias:+.2%}); "
        f"a {DIFF_SECONDS:.0f} s diff of {DIFF_CASES} cases would find slowdowns from {floor.detectable:.1%}"
        + ("" if useful else "; stop other work, pin the clock, or use a quieter machine"),
    )


def preflight(device: str) -> Finding:
    """Name what is known to change an accelerator's times; not in a worker, which computes on it itself."""
    machine = environment.describe(device).machine
    warnings = environment.warnings(environment.snapshot(), None, machine)
    named = [warning.evidence for warning in warnings if warning.topic == "GPUs"]
    named += [f"{name} is set: {effect}" for name, effect in worker_env.changes_meaning().items()]
    unread = "" if named or machine.gpus else machine.unreadable.get("gpus", "no GPU is listed")
    verdict = "fail" if named else "unknown" if unread else "pass"
    expected, remedy = "no variable, mode, display or other process that changes times", "unset or change what is named"
    return Finding("preflight", expected, "; ".join(named) or unread or "none", verdict, remedy * (verdict != "pass"))


def selftest(device: str, seconds: float) -> Iterator[Finding]:
    """Yield the findings of `measuring.selftest` in a worker, and of an A/A test through the engine for ``seconds``."""
    if device != "cpu":
        yield preflight(device)
    kept = memory.variables("kept", worker_env.environment().get("GLIBC_TUNABLES"))
    with ForkServer(["gapbench.measuring.worker"], variables=kept) as server:
        server.wait_ready()
        ended: object = None
        try:
            for ended in server.start(worker.selftest, device).messages(time.monotonic() + _PATIENCE):
                if isinstance(ended, Answer):
                    yield Finding(**ended.content)
        except WorkerTimeoutError as error:
            ended = error
        if isinstance(ended, WorkerTimeoutError) or (isinstance(ended, WorkerExit) and ended.status):
            why = how_it_ended(ended, _PATIENCE)[1]
            yield Finding("all checks done", "yes", why, "fail", "report this device, with what was found before")
    floor = noise_floor(device, seconds)
    check, expected, remedy = "identical code in the engine", "within ±1 %, round by round", "see gapbench doctor"
    if isinstance(floor, str):
        yield Finding(check, expected, floor, "unknown", remedy)
        return
    passed = abs(floor.bias) <= MARGIN and floor.spread <= MARGIN
    found = f"{floor.bias:+.2%} on average, {floor.spread:.2%} from round to round"
    yield Finding(check, expected, found, "pass" if passed else "fail", "" if passed else remedy)


def noise_floor(device: str, seconds: float) -> NoiseFloor | str:
    """Measure the same implementation against itself; return why not where nothing can be measured."""
    clock = find_device(device).clocks[0]
    specs = {"mean": "mean", "mean_again": "mean"}
    plans = [CasePlan("doctor", Case(case.shape, device=device), specs, (clock,)) for case in CASES]
    plan = Plan(tuple(plans), Effort(budget=seconds, target=1e-9, race=False))
    log_ratios: dict[Case, list[float]] = {}
    started = time.monotonic()
    rounds, reason = 0, "no round was finished; give a larger --budget"
    for event in engine.measure(plan):
        if isinstance(event, events.Qualified):
            started = time.monotonic()
            reason = event.qualification.reason or reason
        if isinstance(event, events.RoundMeasured):
            rounds += 1
            times = event.by_turn(clock)
            log_ratio = stats.round_log_ratio(times[THIS, "mean_again"], times[THIS, "mean"])
            log_ratios.setdefault(event.case, []).append(log_ratio)
    if not rounds:
        return reason
    spread = float(np.median([np.std(values, ddof=1) for values in log_ratios.values()]))
    bias = float(np.median([np.median(values) for values in log_ratios.values()]))
    return NoiseFloor(spread, (time.monotonic() - started) / rounds, bias)
