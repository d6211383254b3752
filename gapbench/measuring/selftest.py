"""Check on the device at hand what all numbers rest on: its clocks, floors, caches and ceilings, and what is refused.

Each check, one after the other in a worker, says what a sound device shows and what this one showed (docs/gpu.md).
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from itertools import cycle, pairwise, product
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gapbench.implementations.base import no_launcher
from gapbench.implementations.triton.plans import FORWARD, Geometry, Plan, backward_plans, forward_plans
from gapbench.machine.devices import Accelerator, Cpu, Device
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.unreadable import UnreadableError
from gapbench.measuring import ceilings, clocks, memory, schedule
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.events import MOST_CALLS, EventCold, Pair
from gapbench.operations import GAP
from gapbench.statistics import stats
from gapbench.store.ceilings import MEMORY, Ceiling
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case

Result = tuple[str, bool | None]  # what was found, and whether that is as expected; None where it cannot be told

_MIB = 2**20
_SPINS = (2e-6, 10e-6, 50e-6, 200e-6, 1e-3)
_CALLS, _TRIES = 50, 9
_PAIRS = 200
_BATCH = 0.25e-3
_WORKS = (3e-6, 30e-6, 300e-6)
_ORDERS = 6
_LONG = 50e-3
_FEWEST_LAUNCHES = 6 * MOST_CALLS  # a call with its events, flush and jitter is about six launches
_MOST_LAUNCHES = 5000
_LARGE = 512 * _MIB
_KERNELS, _MOST_BEYOND = (2e-6, 20e-6, 200e-6), {"graph_warm": 1e-6, "event_warm": 1.5e-6, "event_cold": 3e-6}
_ODD = ((1, 1, 1, 1), (3, 67, 7, 7), (2, 5, 37, 31))
_HUGE = ((2**13, 2**13, 7, 7), (2, 2**10 + 1, 2**10, 2**10))  # more than 2^31 elements


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: ``verdict`` is pass, fail, or unknown; ``remedy`` is empty where it passed."""

    check: str
    expected: str
    found: str
    verdict: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A property of a sound device; ``test`` measures it, and ``remedy`` says what to do where it does not hold."""

    name: str
    expected: str
    remedy: str
    test: Callable[[Any], Result]

    def run(self, device: Device) -> Finding:
        """Run the test; a clock that refuses has failed it, and what raises anything else could not be told."""
        try:
            found, passed = self.test(device)
        except clocks.ClockError as refusal:
            found, passed = str(refusal), False
        except Exception as error:
            found, passed = str(error).strip() or type(error).__name__, None
        verdict = "unknown" if passed is None else "pass" if passed else "fail"
        return Finding(self.name, self.expected, found, verdict, "" if passed else self.remedy)


def run(device: Device) -> Iterator[Finding]:
    """Run all checks for a device in this process, which has not used the device before."""
    for check in ON_ACCELERATOR if isinstance(device, Accelerator) else ON_CPU:
        yield check.run(device)


@cache
def _limits(device: Device) -> dict[tuple[str | None, str], Ceiling]:
    limits = ceilings.of_accelerator(device) if isinstance(device, Accelerator) else ceilings.cpu.measure([1])
    return {(ceiling.level, ceiling.kind): ceiling for ceiling in limits}


def _canary(name: str, share: int | None, device: Device) -> Result:
    timer: Any = clocks.clock(name, device)
    timer.canary_share = share
    prepared = timer.prepare(0.0)
    warm, cold = prepared.warm_canary_seconds or 0.0, prepared.cold_canary_seconds or 0.0
    return f"{cold * 1e6:.1f} µs against {warm * 1e6:.1f}: {cold / warm:.2f}", cold >= 1.5 * warm


def _prepared(device: Device, name: str) -> tuple[clocks.Clock, int]:
    """Return a clock that is ready, and the number of inputs of 1 MiB that it rotates."""
    timer = clocks.clock(name, device)
    rotations = timer.rotations(_MIB)
    timer.prepare(0.0)
    return timer, rotations


def _compiler(_: Device) -> Result:
    missing = no_launcher() or (None if shutil.which("g++") else "torch.compile needs g++")
    return missing or "found, with Python.h", missing is None


def _start(device: Accelerator) -> Result:
    opened = []
    with suppress(OSError):
        opened = [str(link.readlink()) for link in Path(f"/proc/{os.getppid()}/fd").iterdir()]
    devices = [path for path in opened if path.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri"))]
    began = base.now()
    device.make_current()
    device.torch.zeros(1, device=device.name).zero_()
    device.synchronize()
    seconds = base.now() - began
    return f"{seconds:.2f} s; open in the parent: {', '.join(devices) or 'none'}", seconds < 0.6 and not devices


def _identity(device: Accelerator) -> Result:
    with nvml.opened(device.name, device.uuid) as gpu:
        listed = os.getpid() in gpu.processes()
    # In a container NVML has the host's numbers of processes.
    return f"{device.uuid}: {'listed' if listed else 'not listed'}", listed or None


def _spins(name: str, device: Device) -> Result:
    if isinstance(device, Accelerator) and device.delay(0.0) is None:
        return "the backend has no spin of known length", None
    timer, rotations = _prepared(device, name)
    times = []
    for seconds in _SPINS:
        call: Any = partial(device.delay if isinstance(device, Accelerator) else _spin, seconds)
        count = timer.whole(max(1, round(2 * _BATCH / seconds)), rotations)
        times.append(median(timer.batch([call] * rotations, count)[0] / count for _ in range(_TRIES)))
    slope, intercept = np.polyfit(_SPINS, times, 1)
    passed = abs(slope - 1) <= 0.005 and abs(intercept) <= 1e-6
    return f"slope {slope:.4f}, intercept {intercept * 1e6:+.2f} µs", bool(passed)


def _spin(seconds: float) -> float:
    """Wait for a time by another clock than `base.now` reads: one that is not steered towards the time of day."""
    read = partial(time.clock_gettime, time.CLOCK_MONOTONIC_RAW)
    end = read() + seconds
    while (now := read()) < end:
        pass
    return now


def _against_host(device: Accelerator) -> Result:
    pair, ratios = Pair(device), []
    for _ in range(5):
        device.synchronize()
        began = base.now()
        with pair:
            device.delay(_LONG)
        device.synchronize()
        ratios.append(pair.seconds / (base.now() - began))
    ratio = max(ratios)  # the host only waits longer
    return f"{ratio:.4f}", abs(ratio - 1) <= 0.01


def _floor(name: str, device: Accelerator) -> Result:
    floors = []
    for _ in range(2):
        timer = clocks.clock(name, device)
        timer.rotations(_MIB)
        floors.append(timer.prepare(0.0).floor_seconds or 0.0)
    once, again = floors
    return f"{once * 1e6:.2f} and {again * 1e6:.2f} µs", max(floors) <= 5e-6 and abs(again - once) <= 0.2e-6


def _alike(device: Device) -> Result:
    timer, rotations = _prepared(device, "event_warm" if isinstance(device, Accelerator) else "host")
    x = device.torch.zeros(_MIB // 4, device=device.name)
    calls = [x.sum] * rotations
    count, _ = schedule.calibrate(timer, calls, _BATCH)
    ratios = []
    for turn in range(_PAIRS):
        times = {}
        for contender in (turn % 2, 1 - turn % 2):
            timer.select(contender)
            times[contender], _ = timer.batch(calls, count)
        ratios.append(math.log(times[1] / times[0]))
    change = stats.location(np.array(ratios))
    low, high = change.low or 0.0, change.high or 0.0
    return f"{low:+.2%} to {high:+.2%}", max(-low, high) <= 0.005


def _lengths(device: Accelerator) -> Result:
    lengths: dict[float, list[int]] = {seconds: [] for seconds in _WORKS}
    for seed in range(_ORDERS):
        timer, _ = _prepared(device, "event_warm")
        for seconds in Random(seed).sample(_WORKS, len(_WORKS)):
            timer.select(_WORKS.index(seconds))
            lengths[seconds].append(schedule.calibrate(timer, [partial(device.delay, seconds)], _BATCH)[0])  # type: ignore[list-item]
    widest = max(max(counts) / min(counts) for counts in lengths.values())
    listed = ", ".join(f"{min(counts)} to {max(counts)}" for counts in lengths.values())
    return f"{listed} calls of 3, 30 and 300 µs", widest <= 1.2


def _queue(device: Accelerator) -> Result:
    element = device.torch.zeros(1, device=device.name)
    device.synchronize()
    device.delay(2 * _LONG)
    launches, waited = 0, 0.0
    while launches < _MOST_LAUNCHES and waited < 1e-3:
        began = base.now()
        element.zero_()
        waited = base.now() - began
        launches += 1
    device.synchronize()
    return f"{launches} launches", launches >= _FEWEST_LAUNCHES


def _sweeps(device: Accelerator) -> Result:
    x = device.torch.zeros(8 * _MIB // 4, device=device.name)
    times = []
    for write in (False, True):  # what is written before it is read leaves nothing else, clean or dirty
        timer = EventCold(device)
        timer._displace = partial(device.flush, write)  # type: ignore[method-assign]
        timer.prepare(0.0)
        times.append(timer.batch(x.sum, _CALLS)[0])
    return f"{times[1] / times[0] - 1:+.2%}", abs(times[1] / times[0] - 1) <= 0.02


def _bandwidth(device: Accelerator) -> Result:
    limits = _limits(device)
    peak = limits[MEMORY, "datasheet"]
    if peak.gbps is None:
        return f"the peak is unknown: {peak.reason}", None
    shares = {kind: (limits[MEMORY, kind].gbps or 0.0) / peak.gbps for kind in ("read", "copy", "write")}
    listed = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
    return listed, all(0.80 <= share <= 0.97 for share in shares.values())


def _cache_speed(device: Accelerator) -> Result:
    limits = _limits(device)
    near, far = limits["L2", "read"], limits[MEMORY, "read"]
    if near.gbps is None or far.gbps is None:
        return str(near.reason or far.reason), None
    return f"{near.gbps / far.gbps:.2f} times", near.gbps > 1.5 * far.gbps


def _levels(device: Cpu) -> Result:
    reads = [limit for limit in _limits(device).values() if limit.kind == "read"]
    if unread := [limit for limit in reads if limit.gbps is None]:
        return str(unread[0].reason), None
    rates = [limit.gbps or 0.0 for limit in reads]
    listed = ", ".join(f"{limit.level} {limit.gbps:.0f}" for limit in reads)
    return f"{listed} GB/s", all(near >= 0.9 * far for near, far in pairwise(rates))


def _mean(device: Accelerator) -> Result:
    peak = _limits(device)[MEMORY, "read"].gbps
    if peak is None:
        return "the read ceiling is unknown", None
    timer, _ = _prepared(device, "event_cold")
    x = device.torch.zeros(_LARGE // 4, device=device.name)
    share = _LARGE / (timer.batch(x.mean, 10)[0] / 10) / 1e9 / peak
    return f"{share:.1%}", 0.97 <= share <= 1.01


def _refused(name: str, device: Accelerator) -> Result:
    """Return which of three calls that no device clock can time was timed all the same."""
    side = device.torch.Stream(device.name)

    def strays() -> float:
        with side:
            device.delay(500e-6)
        device.delay(20e-6)
        return 0.0

    def waits() -> float:
        device.delay(20e-6)
        device.synchronize()
        return 0.0

    accepted = []
    for each, call in {"strays": strays, "waits": waits, "does nothing": lambda: 0.0}.items():
        timer, rotations = _prepared(device, name)
        calls: Any = [call] * rotations
        with suppress(clocks.ClockError):
            timer.verify(calls)
            timer.batch(calls, timer.whole(_CALLS, rotations))
            accepted.append(each)
        device.synchronize()
    return f"accepted: {', '.join(accepted) or 'none'}", not accepted


def _clock_rate(device: Accelerator) -> Result:
    timer, _ = _prepared(device, "event_warm")
    timer.batch(partial(device.delay, 1e-3), _CALLS)  # type: ignore[arg-type]
    with nvml.opened(device.name, device.uuid) as gpu:
        read = gpu.sm_clock_mhz()
    rate = timer.sm_clock_mhz
    return (f"{rate:.0f} MHz against {read:.0f}", abs(rate / read - 1) <= 0.05) if rate else ("not counted", None)


def _allocated(device: Accelerator) -> Result:
    if not hasattr(device.torch.accelerator, "memory_allocated"):
        return "this torch does not count it", None
    timer, _ = _prepared(device, "event_warm")
    x = device.torch.zeros(_MIB // 4, device=device.name)
    timer.batch(x.sum, _CALLS)
    before = device.torch.accelerator.memory_allocated(device.index)
    for _ in range(20):
        timer.batch(x.sum, _CALLS)
    grown = device.torch.accelerator.memory_allocated(device.index) - before
    return f"{grown:,} bytes more", grown <= 0


def _kept_memory(device: Cpu) -> Result:
    device.torch.zeros(2**21)
    before = memory.page_faults()
    for _ in range(20):
        device.torch.zeros(2**21)
    faults = (memory.page_faults() - before) / 20
    return f"{faults:.1f} page faults a temporary", faults < 5


def _beyond_kernels(name: str, device: Accelerator) -> Result:
    """Compare a clock's times with those of the kernels alone, by the profiler (not torch's, which imports Dynamo)."""
    timer, rotations = _prepared(device, name)
    count, beyond = timer.whole(_CALLS, rotations), []
    for seconds in _KERNELS:
        call: Any = partial(device.delay, seconds)
        timed = median(timer.batch([call] * rotations, count)[0] / count for _ in range(_TRIES))
        with device.torch.autograd.profiler.profile(use_device=device.family, use_kineto=True) as profiler:
            for _ in range(_CALLS):
                call()
            device.synchronize()
        events = profiler.kineto_results.events()
        kernels = [event.duration_ns() * 1e-9 for event in events if not str(event.device_type()).endswith("CPU")]
        if not kernels:
            return "the profiler recorded no kernel: the driver may restrict them to administrators", None
        beyond.append(timed - median(kernels))
    listed = ", ".join(f"{each * 1e6:+.2f}" for each in beyond)
    return f"{listed} µs", all(-5e-7 <= each <= _MOST_BEYOND[name] for each in beyond)


def _accepted(device: Device) -> Result:
    cases = [Case((2, 64, 7, 7), device=device.name, pass_=name) for name in ("forward", "backward", "training")]
    able = [(own, case) for own, case in product(GAP.implementations, cases) if not own.unsupported_reason(case)]
    rejected = []
    for own, case in able:
        try:
            reason = oracle.examine(case, own.prepare(case), 0, own.truth).reason
        except Exception as error:
            reason = repr(error)
        rejected += [f"{own.name} {case.pass_}: {reason}"] if reason else []
    return _counted(rejected, len(able), "rejected")


def _counted(bad: Sequence[str], count: int, word: str) -> Result:
    return f"{len(bad):,} of {count:,} {word}{': ' * bool(bad)}{'; '.join(bad[:3])}", not bad


def _kernels(device: Device, poison: bool = True) -> tuple[Any, Any]:
    """Return our modules for Triton; with ``poison`` torch fills what it allocates with NaN, to this process's end."""
    if device.name == "cpu" and not import_module("triton").knobs.runtime.interpret:
        raise UnreadableError("Triton's kernels need a GPU, or its interpreter")
    torch.use_deterministic_algorithms(poison, warn_only=True)
    package = "gapbench.implementations.triton"
    return import_module(f"{package}.dispatch"), import_module(f"{package}.op")


def _plans(shapes: Sequence[tuple[int, ...]], dtypes: Iterable[str], most: int | None, device: Device) -> Result:
    """Run ``most`` plans of each kernel on whole numbers, whose sums are exact in any order."""
    dispatch, op = _kernels(device)
    chip, right = dispatch.chip_of(device.name), dict[str, bool]()
    for shape, dtype, layout in product(shapes, dtypes, LAYOUTS):
        case, outputs = Case(shape, dtype=dtype, layout=layout, device=device.name), dict[Plan, Tensor]()
        x, geometry = inputs.empty(case).random_(0, 16).requires_grad_(), Geometry.of(case)
        total = partial(torch.sum, dim=case.spatial_dims, keepdim=True, dtype=torch.float64)
        close = partial(torch.allclose, rtol=max(1e-12, 2 * torch.finfo(x.dtype).eps), atol=0)
        mean = total(x.detach()) / case.window
        for kernel, plans in FORWARD.items():
            for plan, back in zip(plans(geometry, chip)[:most], cycle(backward_plans(geometry, chip, kernel))):
                with suppress(dispatch.OutOfResources):  # a tile that this GPU cannot hold
                    y = outputs[plan] = op.gap(x, str(plan), str(back))
                    (gradient,) = torch.autograd.grad(y, x, y.detach())
                    same = torch.equal(y, outputs.get(replace(plan, kernel="split_two_pass"), y))
                    each = close(y.double(), mean), close(total(gradient), y.double()), same
                    right[f"{plan} (backward {back}) on {case.id}"] = all(each)
    return _counted([name for name, passed in right.items() if not passed], len(right), "wrong")


def _single_pass(shape: tuple[int, ...], calls: int, device: Device) -> Result:
    (dispatch, op), case = _kernels(device), Case(shape, device=device.name)
    plan = FORWARD["split_single_pass"](Geometry.of(case), dispatch.chip_of(device.name))[0]
    xs = [inputs.empty(case).random_(0, 16) for _ in range(2)]
    expected = [op.gap(x, str(replace(plan, kernel="split_two_pass")), "") for x in xs]
    differ = sum((op.gap(xs[number % 2], str(plan), "") != expected[number % 2]).any() for number in range(calls))
    return f"{int(differ):,} of {calls:,} differ", not differ


def _tuned(device: Device) -> Result:
    (dispatch, op), case = _kernels(device, poison=False), Case((64, 2048, 7, 7), dtype="float16", device=device.name)
    x, plans = inputs.empty(case), forward_plans(Geometry.of(case), dispatch.chip_of(device.name))
    tries = [[dispatch.milliseconds(partial(op.gap, x, str(plan), "")) for plan in plans] for _ in range(5)]
    chosen = {dispatch.choose(plans, dict(zip(plans, times, strict=True)).__getitem__) for times in tries}
    typical = dict(zip(plans, np.median(tries, axis=0), strict=True))
    regret = max(typical[plan] for plan in chosen) / min(typical.values()) - 1
    return f"{len(chosen)} of {len(plans)} plans, regret {regret:.1%}", len(chosen) == 1 or regret < 0.03


_NOISE = "stop other work; gapbench doctor names it"
_TIMESTAMPS = "report this device: it is not what the clocks assume"
_CACHES = "read this device's cold times as warm ones, and report it"
_COLD = "cold at least 1.5 times warm"
_SPIN = "slope 1 ± 0.5 %, intercept 0 ± 1 µs"
_COMPILER = Check("compiler", "gcc, g++ and Python.h", "install g++ and python3-dev", _compiler)
_TWINS = Check("identical code in one process", "within ±0.5 %", _NOISE, _alike)
_ACCEPTED = Check("implementations in each pass", "0 rejected", "see why with gapbench run --impl", _accepted)
_KERNELS_WRONG = "report what is wrong; without a GPU, set TRITON_INTERPRET=1"
_RIGHT = "0 wrong, both splits the same bit by bit"
_ALTERNATING = partial(Check, "split_single_pass, inputs alternating", "0 differ", _KERNELS_WRONG)

ON_CPU = (
    _COMPILER,
    Check("spins by host", _SPIN, _NOISE, partial(_spins, "host")),
    _TWINS,
    Check("cold cache by host_cold", _COLD, "use a machine of your own", partial(_canary, "host_cold", None)),
    Check("kept memory", "fewer than 5 page faults", "set GLIBC_TUNABLES as docs/measuring.md says", _kept_memory),
    Check("ceilings", "no level slower than the next", _NOISE, _levels),
    _ACCEPTED,
    Check("Triton's plans", _RIGHT, _KERNELS_WRONG, partial(_plans, _ODD, DTYPES, 1)),
    _ALTERNATING(partial(_single_pass, (2, 9, 37, 31), 20)),
)
"""The checks for the host's processor."""

ON_ACCELERATOR = (
    Check("start", "below 0.6 s, no device open in the parent", "switch persistence mode on: gapbench tune", _start),
    _COMPILER,
    Check("identity", "NVML lists this process under the device's UUID", "compare CUDA_VISIBLE_DEVICES", _identity),
    Check("events against the host's clock", "within 1 %", _TIMESTAMPS, _against_host),
    _TWINS,
    Check("batch lengths in 6 orders", "within 20 %", _NOISE, _lengths),
    Check("launch queue", f"at least {_FEWEST_LAUNCHES} launches", "measure with --clock graph_warm", _queue),
    *(
        Check(f"canary of 1/{share} of the cache", _COLD, _CACHES, partial(_canary, "event_cold", share))
        for share in (8, 4, 2)
    ),
    Check("flush by reading against writing and reading", "within 2 %", _CACHES, _sweeps),
    Check("memory against its datasheet", "80 to 97 %", "look for MIG, ECC and other processes", _bandwidth),
    Check("cache against memory", "more than 1.5 times as fast", _CACHES, _cache_speed),
    Check("mean of 512 MB by event_cold", "97 to 101 % of the read ceiling", _CACHES, _mean),
    Check("SM clock against NVML", "within 5 %", "lock the clock: gapbench tune", _clock_rate),
    Check("memory after 1,000 calls", "constant", "report this device", _allocated),
    *(
        Check(name.format(clock), expected, _TIMESTAMPS, partial(test, clock))
        for name, expected, test in (
            ("spins by {}", _SPIN, _spins),
            ("floor of {}", "below 5 µs, twice within 0.2 µs", _floor),
            ("calls that {} cannot time", "accepted: none", _refused),
            ("{} beyond the profiler's kernels", "-0.5 to +1.5 µs, cold +3, graphs +1", _beyond_kernels),
        )
        for clock in _MOST_BEYOND  # spins leave the cache as it is: no graph is cold
    ),
    _ACCEPTED,
    Check("Triton's choice, five times", "one plan, or regret below 3 %", _NOISE, _tuned),
    Check("Triton's plans", _RIGHT, _KERNELS_WRONG, partial(_plans, _ODD, DTYPES, None)),
    Check("Triton's plans, 2^31 elements", _RIGHT, _KERNELS_WRONG, partial(_plans, _HUGE, ["bfloat16"], 1)),
    _ALTERNATING(partial(_single_pass, (1, 32, 112, 112), 10**5)),
)
"""The checks for a GPU or another accelerator."""
