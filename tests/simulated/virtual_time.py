"""The host's time: it passes when simulated work is done or waited for, and never by itself."""


class HostTime:
    """Seconds since the simulation began."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def spend(self, seconds: float) -> None:
        """Let the host work."""
        self.seconds += seconds

    def wait_until(self, moment: float) -> None:
        """Let the host wait, if ``moment`` is to come."""
        self.seconds = max(self.seconds, moment)

    def perf_counter_ns(self) -> int:
        """Stand in for `time.perf_counter_ns`."""
        return round(self.seconds * 1e9)
