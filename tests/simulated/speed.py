"""How fast the device runs at a moment, as a share of its full speed."""

from dataclasses import dataclass, field


@dataclass
class Speed:
    """Clocks that rise from ``idle_speed`` to 1 over ``ramp_seconds`` of work, and spells in which they are kept down.

    ``spells`` are (begin, end, speed), by the device's time. Where the device is ``shared`` with another process, that
    one has the second half of every so many seconds: what would begin then waits.
    """

    idle_speed: float = 1.0
    ramp_seconds: float = 0.0
    spells: list[tuple[float, float, float]] = field(default_factory=list)
    shared: float | None = None
    _busy: float = 0.0

    def at(self, moment: float) -> float:
        """Return the speed of a kernel that begins at ``moment``."""
        risen = min(1.0, self._busy / self.ramp_seconds) if self.ramp_seconds else 1.0
        speed = self.idle_speed + (1 - self.idle_speed) * risen
        for begin, end, kept_down_to in self.spells:
            if begin <= moment < end:
                speed *= kept_down_to
        return speed

    def granted(self, moment: float) -> float:
        """Return when a kernel may begin that could at ``moment``."""
        if self.shared is None or moment % self.shared < self.shared / 2:
            return moment
        return (moment // self.shared + 1) * self.shared

    def work(self, seconds: float) -> None:
        """Take note that the device was busy."""
        self._busy += seconds
