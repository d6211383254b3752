"""Launching work behind a device-side delay, so that the device never waits for the host between two events."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from gapbench.machine.devices import Accelerator
from gapbench.measuring.clocks.base import ClockRefusedError, now

T = TypeVar("T")

MOST_CALLS = 50
"""Calls launched behind one delay: with their events and flushes they must fit in the device's launch queue, about
1,000 entries under CUDA, beyond which launching waits for the device."""

_SHORTEST = 200e-6
_LONGEST = 0.5
_TRIES = 4
_DITHER = 4e-6
_STRAY_SHARE = 0.05


class Hold:
    """Runs pieces of work on a held device, and proves each time that the hold was long enough."""

    def __init__(self, device: Accelerator) -> None:
        self._device = device
        self._taken, self._released, self._end = device.event(), device.event(), device.event()
        self._seconds = _SHORTEST
        self._random = Random(0)
        self._pace: float | None = None
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
        self._pace, self._idle = min(paces), max(waits)

    def dither(self) -> None:
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
            began = now()
            held = self._seconds
            self._take(held)
            result = launch()
            self._end.record()
            # The delay cannot have begun before it was launched. So whatever was launched within its length, by the
            # host's clock, was in the queue when it ended.
            spent = now() - began
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
        began = now()
        self._device.synchronize()
        return now() - began

    def _note(self, pace: float) -> None:
        assert self._pace is not None, "a hold is prepared before it is used"
        self.slowdown = max(self.slowdown or 0.0, pace / self._pace)
