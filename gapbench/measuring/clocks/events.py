"""`event_cold` and `event_warm`, and the base of all clocks that use events: blocking kernel, floor and canary.

Launches queue up behind a delay on the device, so the host's launch time is outside the events.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from statistics import fmean, median
from typing import TypeVar

from torch import Tensor

from gapbench.machine.devices import Accelerator
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.base import BURN_IN_SECONDS, Canary, Clock, ClockRefusedError, Preparation
from gapbench.workloads.passes import Call

T = TypeVar("T")

MOST_CALLS = 50
"""Calls launched behind one delay: with their events and flushes they must fit in the device's launch queue, about
1,000 entries under CUDA; launching into a full queue waits for the device."""

_SHORTEST = 200e-6
_LONGEST = 0.5
_TRIES = 4
_LONGEST_JITTER = 4e-6
_MARGIN = 1.5  # length of a delay over what launching took the last time; one that proves too short is repeated
_STRAY_SHARE = 0.05
_FLUSHES_BETWEEN_LOOKS = 10
_FLOOR_RUNS = 6
_SHORTEST_CALL = 0.1e-6
_FLOOR_SHARE = 0.1
_INTERRUPTION = 2e-6
_PACES_AGREE = 0.01
_PACE_SECONDS = 0.02
_FREE_CALLS, _LONG_CALL = 20, 1e-3


class BlockingKernel:
    """A delay on the device behind which work is queued, with a proof each time that the delay was long enough.

    Each contender has its own length. ``seconds`` are the device's seconds in delays since `reset`, ``slowdown`` the
    largest ratio of a delay's length to that when prepared, and ``clock_mhz`` the lowest rate of the device's clock.
    """

    def __init__(self, device: Accelerator) -> None:
        self._device = device
        self._blocked, self._unblocked, self._end = device.event(), device.event(), device.event()
        self._lengths: dict[int, float] = {}
        self._contender = 0
        self._random = Random(0)
        self._delay_ratio: float | None = None
        self._idle = self._overhead = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget what was found of earlier launches."""
        self.seconds = 0.0
        self.slowdown: float | None = None
        self.clock_mhz: float | None = None

    def prepare(self) -> None:
        """Measure the length of a delay on a warm device, and the time to synchronise with an idle device."""
        self._device.synchronize()
        lengths: dict[float, list[float]] = {_SHORTEST: [], 2 * _SHORTEST: []}
        waits = []
        for requested in 5 * [*lengths]:
            self._block(requested)
            lengths[requested].append(self._blocked.seconds_until(self._unblocked))
            self._device.synchronize()
            waits.append(self._wait())
        once, twice = map(min, lengths.values())
        self._delay_ratio, self._idle = once / _SHORTEST, max(waits)
        self._overhead = max(0.0, 2 * once - twice)  # of events and of starting a kernel

    def select(self, contender: int) -> None:
        """Use the length that this contender needs."""
        self._contender = contender

    def jitter(self) -> None:
        """Queue a delay of random length, so that the error of timestamps in steps of 0.5 µs averages out."""
        self._device.delay(self._random.uniform(0, _LONGEST_JITTER))

    def run(self, launch: Callable[[], T]) -> T:
        """Launch work behind a delay, wait for all of it, and return the result of ``launch``.

        Tries longer delays if one ended too early. Raises `ClockRefusedError` if none helps or work goes on elsewhere.
        """
        assert self._delay_ratio is not None, "a blocking kernel is prepared before it runs"
        for _ in range(_TRIES):
            self._device.synchronize()
            began = base.now()
            requested = self._lengths.get(self._contender, _SHORTEST)
            cycles = self._block(requested)
            result = launch()
            self._end.record()
            # The delay cannot have begun before it was launched. So what was launched within its length, by the host's
            # clock, was in the queue when it ended.
            spent = base.now() - began
            seconds = self._blocked.seconds_until(self._unblocked)
            self.seconds += seconds
            worked = self._unblocked.seconds_until(self._end)
            stray = self._wait()
            if spent > seconds:
                reason = (
                    "the host was not done with launching before the device began: the calls wait for the device, or "
                    "launch more than its queue holds"
                )
                # The next request is corrected by the ratio of the requested to the actual length.
                self._lengths[self._contender] = min(_LONGEST, 2 * spent * max(1.0, requested / max(seconds, 1e-9)))
            elif self._is_stray(stray, worked):
                reason = _stray_reason(self._device, stray)
            else:
                self._lengths[self._contender] = min(_LONGEST, max(_SHORTEST, _MARGIN * spent, requested / 2))
                self.slowdown = max(self.slowdown or 0.0, seconds / requested / self._delay_ratio)
                if cycles is not None:
                    rate = cycles / (seconds - self._overhead) / 1e6
                    self.clock_mhz = min(self.clock_mhz or rate, rate)
                return result
        raise ClockRefusedError(reason)

    def run_free(self, launch: Callable[[], object]) -> float:
        """Launch work without a delay, which would hide work on other streams; return its seconds on the stream.

        Raises `ClockRefusedError` if other work goes on when the stream is done.
        """
        for _ in range(_TRIES):
            self._device.synchronize()
            self._blocked.record()
            launch()
            self._end.record()
            worked = self._blocked.seconds_until(self._end)
            stray = self._wait()
            if not self._is_stray(stray, worked):
                return worked
        raise ClockRefusedError(_stray_reason(self._device, stray))

    def _block(self, seconds: float) -> float | None:
        self._blocked.record()
        cycles = self._device.delay(seconds)
        self._unblocked.record()
        return cycles

    def _wait(self) -> float:
        began = base.now()
        self._device.synchronize()
        return base.now() - began

    def _is_stray(self, waited: float, worked: float) -> bool:
        """Tell whether waiting took longer than for an idle device, now as well as when prepared: waits vary."""
        threshold = _STRAY_SHARE * worked
        return waited > 3 * self._idle + threshold and waited > 3 * self._wait() + threshold


def _stray_reason(device: Accelerator, seconds: float) -> str:
    return (
        f"{device.name} worked for another {seconds * 1e6:.0f} µs when the timed stream was done: the calls launch "
        "work on other streams and do not wait for it"
    )


class Pair:
    """Two events around the work that is launched in its ``with`` block."""

    def __init__(self, device: Accelerator) -> None:
        self._start, self._end = device.event(), device.event()

    def __enter__(self) -> None:
        self._start.record()

    def __exit__(self, *_: object) -> None:
        self._end.record()

    @property
    def seconds(self) -> float:
        """The device's time between them, the floor included."""
        return self._start.seconds_until(self._end)


def burn_in(device: Accelerator, seconds: float) -> None:
    """Keep the device busy until its clocks have risen: until two paces agree to 1 %, for ``seconds`` at most."""
    began = now = base.now()
    pace: float | None = None
    while now - began < seconds:
        start, flushes = now, 0
        while now - start < _PACE_SECONDS:
            for _ in range(_FLUSHES_BETWEEN_LOOKS):
                device.flush()
            device.synchronize()
            flushes += _FLUSHES_BETWEEN_LOOKS
            now = base.now()
        before, pace = pace, (now - start) / flushes
        if before is not None and abs(pace / before - 1) < _PACES_AGREE:
            return


def undisturbed_mean(values: Sequence[float]) -> float:
    """Return the mean of what is within twice the median and `_INTERRUPTION`; a median would resolve less."""
    limit = 2 * median(values) + _INTERRUPTION
    return fmean(value for value in values if value <= limit)


class EventClock(Clock):
    """A clock that reads the device's own events, around work that is launched behind a `BlockingKernel`."""

    canary_share: int | None = None  # the cache's size over the canary's; None suits the device

    _device: Accelerator
    _canary: Canary
    _floor: float

    def __init__(self, device: Accelerator) -> None:
        super().__init__(device)
        device.make_current()
        self._blocking_kernel = BlockingKernel(device)
        self._pairs = [Pair(device) for _ in range(MOST_CALLS)]
        self._canary_pair = Pair(device)

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:
        """Burn in, measure the floor, and for a cold clock calibrate a canary."""
        burn_in(self._device, burn_in_seconds)
        self._blocking_kernel.prepare()
        self._floor = floor = self._measure_floor()
        if not self.cold:
            return Preparation(floor_seconds=floor)
        self._canary = canary = Canary(self._device, self.canary_share)
        canary.calibrate(self._read)
        return Preparation(floor_seconds=floor, warm_canary_seconds=canary.warm, cold_canary_seconds=canary.cold)

    def select(self, contender: int) -> None:
        """Hold the device up as long as this contender needs."""
        self._blocking_kernel.select(contender)

    def verify(self, calls: Sequence[Call]) -> None:
        """Raise `ClockRefusedError` where calls leave work on other streams, which events do not see."""
        for count in (1, _FREE_CALLS):

            def launch(count: int = count) -> None:
                for call in base.cycled(calls, count):
                    call()

            if self._blocking_kernel.run_free(launch) > _LONG_CALL:
                return

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        delay = self._blocking_kernel
        delay.reset()
        seconds, pairs, output = self._run(calls, count)
        self.slowdown, self.held_seconds, self.sm_clock_mhz = delay.slowdown, delay.seconds, delay.clock_mhz
        return self._net(seconds, pairs, count), output

    @abstractmethod
    def _run(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        """Run a batch; return the seconds between pairs of events, the number of pairs, and the last output."""

    def _measure_floor(self) -> float:
        """Return the seconds between a pair of events with no work in between: the protocol's own time."""

        def launch() -> None:
            for pair in self._pairs:
                self._blocking_kernel.jitter()
                self._displace()
                with pair:
                    pass

        readings: list[float] = []
        for _ in range(_FLOOR_RUNS):
            self._blocking_kernel.run(launch)
            readings.extend(pair.seconds for pair in self._pairs)
        return max(0.0, undisturbed_mean(readings))  # an empty pair may come out as 0, or just below

    def _displace(self) -> None:
        """Queue what comes before each timed call."""

    def _read(self, displace: Callable[[], object]) -> float:
        def launch() -> None:
            self._canary.touch()
            displace()
            self._read_canary()

        self._blocking_kernel.run(launch)
        return self._canary_pair.seconds

    def _read_canary(self) -> None:
        with self._canary_pair:
            self._canary.touch()

    def _judge_canary(self) -> None:
        if self._canary.was_warm(self._canary_pair.seconds):
            raise self._canary.refusal()

    def _net(self, seconds: float, pairs: int, count: int) -> float:
        """Return the ``seconds`` of ``count`` calls minus the floors of ``pairs``, which draw ratios towards 1."""
        net = seconds - pairs * self._floor
        if net <= count * _SHORTEST_CALL + pairs * _FLOOR_SHARE * self._floor:
            raise ClockRefusedError(
                f"{count} calls took {max(0.0, net) * 1e6:.2f} µs on the timed stream, too little: they launch "
                "their work on another stream, or none at all"
            )
        return net


class EventCold(EventClock):
    """Time each call on the device by events around it, after flushing the caches outside the events."""

    name = "event_cold"
    cold = True

    def _displace(self) -> None:
        self._device.flush()

    def _run(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        seconds = 0.0
        for first in range(0, count, MOST_CALLS):
            pairs = self._pairs[: min(MOST_CALLS, count - first)]

            def launch(first: int = first, pairs: list[Pair] = pairs) -> Tensor:
                self._canary.touch()
                for pair, call in zip(pairs, base.cycled(calls, len(pairs), first), strict=True):
                    self._blocking_kernel.jitter()
                    self._displace()
                    with pair:
                        output = call()
                self._read_canary()
                return output

            output = self._blocking_kernel.run(launch)
            self._judge_canary()
            seconds += sum(pair.seconds for pair in pairs)
        return seconds, count, output


class EventWarm(EventClock):
    """Time calls on the device back to back, gaps between kernels included; the previous call has warmed the caches."""

    name = "event_warm"

    def _run(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        pair, seconds = self._pairs[0], 0.0
        firsts = range(0, count, MOST_CALLS)
        for first in firsts:

            def launch(first: int = first) -> Tensor:
                self._blocking_kernel.jitter()
                output = calls[first % len(calls)]()  # the previous contender left other data in the cache
                with pair:
                    for call in base.cycled(calls, min(MOST_CALLS, count - first), first):
                        output = call()
                return output

            output = self._blocking_kernel.run(launch)
            seconds += pair.seconds
        return seconds, len(firsts), output
