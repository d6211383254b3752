"""What is derived from a measured time: unit, direction and formula of each metric, in one place."""

from collections.abc import Callable
from dataclasses import dataclass

from gapbench.workloads.cases import Case


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of `records.RESULTS` that follows from a case and the seconds of one call."""

    column: str
    unit: str
    higher_is_better: bool
    description: str
    derive: Callable[[Case, float], float | None]


def _gbps(case: Case, seconds: float) -> float | None:
    return None if case.operation != "gap" or case.bytes_moved is None else case.bytes_moved / seconds / 1e9


METRICS: tuple[Metric, ...] = (
    Metric(
        "gbps",
        "GB/s",
        True,
        "bytes that must move to average (every input and output element once) per second, in 10^9 bytes; null for "
        "other operations",
        _gbps,
    ),
)
