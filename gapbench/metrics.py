"""What is derived from a measured time: unit, direction and formula of each metric, in one place."""

from collections.abc import Callable
from dataclasses import dataclass

from gapbench.cases import Case


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of `records.RESULTS` that follows from a case and the seconds of one call."""

    column: str
    unit: str
    higher_is_better: bool
    description: str
    derive: Callable[[Case, float], float]


METRICS: tuple[Metric, ...] = (
    Metric(
        "gbps",
        "GB/s",
        True,
        "bytes that must move (every input and output element once) per second, in 10^9 bytes",
        lambda case, seconds: case.bytes_moved / seconds / 1e9,
    ),
)
