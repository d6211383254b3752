"""`event_cold` and `event_warm`, and what the clocks that use events share: floor, canary, and judging the sum.

Launches queue up behind a delay on the device, so the host's launch time is outside the events, and the device never
waits for the host between two of them.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from statistics import fmean
from typing import TypeVar

from torch import Tensor

from gapbench.machine.devices import Accelerator, Device
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.base import BURN_IN_SECONDS, Canary, Clock, ClockRefusedError, Preparation
from gapbench.workloads.passes import Call

T = TypeVar("T")

MOST_CALLS = 50
"""Calls launched behind one delay: with their events and flushes they must fit in the device's launch queue, about
1,000 entries under CUDA, beyond which launching waits for the device."""

_SHORTEST = 200e-6
_LONGEST = 0.5
_TRIES = 4
_DITHER = 4e-6
_STRAY_SHARE = 0.05
_FLUSHES_BETWEEN_LOOKS = 10
_FLOOR_RUNS = 6
_SHORTEST_CALL = 0.1e-6
_FLOOR_SHARE = 0.1


class BlockingKernel:
    """Runs pieces of work on a held device, and proves each time that the hold was long enough."""

    def __init__(self, device: Accelerator) -> None:
        self._device = device
        self._taken, self._released, self._end = device.event(), device.event(), device.event()
        self._seconds = _SHORTEST
        self._random = Random(0)
        self._delay_ratio: float | None = None
        self._idle = 0.0
        self.slowdown: float | None = None
        """The longest that a hold has taken since this was set to None, over what it took when prepared."""

    def prepare(self) -> None:
        """Measure what a hold takes on a device at speed, and what it costs to synchronise with an idle one."""
        self._device.synchronize()
        paces, waits = [], []
        for _ in range(5):
            self._take(_SHORTEST)
            paces.append(self._taken.seconds_until(self._released) / _SHORTEST)
            self._device.synchronize()
            waits.append(self._wait())
        self._delay_ratio, self._idle = min(paces), max(waits)

    def jitter(self) -> None:
        """Queue a delay of another length each time.

        Timestamps are multiples of the device's resolution, about 0.5 µs. Work that always began at the same phase of
        it would always be misread alike, by up to one step; begun at random phases, its mean is right.
        """
        self._device.delay(self._random.uniform(0, _DITHER))

    def run(self, launch: Callable[[], T]) -> T:
        """Launch work behind a delay, wait for all of it, and return what ``launch`` returned.

        ``launch`` may be run several times: again with a longer delay, if the device was released before it returned.
        Raises `ClockRefusedError` if that does not help, or if work goes on elsewhere when the stream is done.
        """
        for _ in range(_TRIES):
            self._device.synchronize()
            began = base.now()
            held = self._seconds
            self._take(held)
            result = launch()
            self._end.record()
            # The delay cannot have begun before it was launched. So whatever was launched within its length, by the
            # host's clock, was in the queue when it ended.
            spent = base.now() - began
            seconds = self._taken.seconds_until(self._released)
            worked = self._released.seconds_until(self._end)
            stray = self._wait()
            if spent > seconds:
                reason = (
                    "the host was not done with launching before the device began: the calls wait for the device, or "
                    "launch more than its queue holds"
                )
                # what was asked for, corrected by how much of it the device gave
                self._seconds = min(_LONGEST, 2 * spent * max(1.0, held / max(seconds, 1e-9)))
            elif stray > 3 * self._idle + _STRAY_SHARE * worked:
                reason = (
                    f"{self._device.name} worked for another {stray * 1e6:.0f} µs when the timed stream was done: the "
                    "calls launch work on other streams and do not wait for it"
                )
            else:
                self._seconds = min(_LONGEST, max(_SHORTEST, 2 * spent, self._seconds / 2))
                self._note(seconds / held)
                return result
        raise ClockRefusedError(reason)

    def _take(self, seconds: float) -> None:
        self._taken.record()
        self._device.delay(seconds)
        self._released.record()

    def _wait(self) -> float:
        """Return the host's seconds until the whole device is idle."""
        began = base.now()
        self._device.synchronize()
        return base.now() - began

    def _note(self, pace: float) -> None:
        assert self._delay_ratio is not None, "a hold is prepared before it is used"
        self.slowdown = max(self.slowdown or 0.0, pace / self._delay_ratio)


class Pair:
    """Two events around what is launched in its ``with`` block."""

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
    """Keep the device busy until its clocks have risen."""
    began = base.now()
    while base.now() - began < seconds:
        for _ in range(_FLUSHES_BETWEEN_LOOKS):
            device.flush()
        device.synchronize()


class EventClock(Clock):
    """A clock that reads the device's own events, around work that is launched behind a `BlockingKernel`."""

    _device: Accelerator

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether ``device`` is an accelerator."""
        return isinstance(device, Accelerator)

    def __init__(self, device: Accelerator) -> None:
        super().__init__(device)
        device.make_current()
        self._blocking_kernel = BlockingKernel(device)
        self._pairs = [Pair(device) for _ in range(MOST_CALLS)]
        self._canary_pair = Pair(device)
        self._canary: Canary | None = None
        self._floor: float | None = None

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:
        """Burn in, measure the floor, and for a cold clock what a canary tells."""
        burn_in(self._device, burn_in_seconds)
        self._blocking_kernel.prepare()
        self._floor = floor = self._measure_floor()
        if not self.cold:
            return Preparation(floor_seconds=floor)
        self._canary = canary = Canary(self._device)
        canary.calibrate(self._read)
        return Preparation(floor_seconds=floor, warm_canary_seconds=canary.warm, cold_canary_seconds=canary.cold)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        self._blocking_kernel.slowdown = None
        seconds, pairs, output = self._held(calls, count)
        self.slowdown = self._blocking_kernel.slowdown
        return self._net(seconds, pairs, count), output

    @abstractmethod
    def _held(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        """Run a batch; return the seconds that pairs of events show, how many pairs these are, and the last output."""

    def _measure_floor(self) -> float:
        """Return what a pair of events shows with nothing in between: time that is the protocol's, not the call's."""

        def launch() -> None:
            for pair in self._pairs:
                self._blocking_kernel.jitter()
                with pair:
                    pass

        readings: list[float] = []
        for _ in range(_FLOOR_RUNS):
            self._blocking_kernel.run(launch)
            readings.extend(pair.seconds for pair in self._pairs)
        return max(0.0, fmean(readings))  # an empty pair may come out as 0, or just below

    def _read(self, displace: Callable[[], object]) -> float:
        """Touch the canary, displace it, and return the seconds of reading it again."""

        def launch() -> None:
            self._touch_canary()
            displace()
            self._look_at_canary()

        self._blocking_kernel.run(launch)
        return self._canary_pair.seconds

    def _touch_canary(self) -> None:
        """Queue a reading that brings the canary into the cache."""
        assert self._canary is not None, "a clock is prepared before it measures"
        self._canary.touch()

    def _look_at_canary(self) -> None:
        """Queue a timed reading of the canary."""
        assert self._canary is not None
        with self._canary_pair:
            self._canary.touch()

    def _judge_canary(self) -> None:
        """Refuse if the canary, touched before the calls, was in the cache after them."""
        assert self._canary is not None
        if self._canary.was_warm(self._canary_pair.seconds):
            raise self._canary.refusal()

    def _net(self, seconds: float, pairs: int, count: int) -> float:
        """Return ``seconds``, read off ``pairs`` pairs of events around ``count`` calls, without the floor.

        Additive time of the protocol would draw all ratios towards 1, and the more the shorter the calls.
        """
        assert self._floor is not None, "a clock is prepared before it measures"
        net = seconds - pairs * self._floor
        if net <= count * _SHORTEST_CALL + pairs * _FLOOR_SHARE * self._floor:
            raise ClockRefusedError(
                f"{count} calls took {max(0.0, net) * 1e6:.2f} µs on the timed stream, which is nothing: they launch "
                "their work on another stream, or none at all"
            )
        return net


class EventCold(EventClock):
    """Time calls on the device from event to event around each, its caches flushed before each, outside of events."""

    name = "event_cold"
    cold = True

    def _held(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        seconds = 0.0
        for first in range(0, count, MOST_CALLS):
            pairs = self._pairs[: min(MOST_CALLS, count - first)]

            def launch(first: int = first, pairs: list[Pair] = pairs) -> Tensor:
                self._touch_canary()
                for pair, call in zip(pairs, base.cycled(calls, len(pairs), first), strict=True):
                    self._blocking_kernel.jitter()
                    self._device.flush()
                    with pair:
                        output = call()
                self._look_at_canary()
                return output

            output = self._blocking_kernel.run(launch)
            self._judge_canary()
            seconds += sum(pair.seconds for pair in pairs)
        return seconds, count, output


class EventWarm(EventClock):
    """Time calls on the device back to back, inputs where the call before left them; gaps between kernels count."""

    name = "event_warm"

    def _held(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        pair, seconds = self._pairs[0], 0.0
        firsts = range(0, count, MOST_CALLS)
        for first in firsts:

            def launch(first: int = first) -> Tensor:
                self._blocking_kernel.jitter()
                output = calls[first % len(calls)]()  # the contender before left other data in the cache
                with pair:
                    for call in base.cycled(calls, min(MOST_CALLS, count - first), first):
                        output = call()
                return output

            output = self._blocking_kernel.run(launch)
            seconds += pair.seconds
        return seconds, len(firsts), output
