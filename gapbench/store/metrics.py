"""Metrics: columns of the results that are derived from a case and the seconds of one call.

Each is one entry of `METRICS`: its column is stored, shown in the page's table of results and explained in its help.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gapbench.workloads.cases import Case


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of float64 in ``unit``; null where ``derive``, of the case and the seconds of one call, is None."""

    column: str
    unit: str
    description: str
    derive: Callable[[Case, float], float | None]


def _gbps(case: Case, seconds: float) -> float | None:
    return None if case.operation != "gap" or case.bytes_moved is None else case.bytes_moved / seconds / 1e9


METRICS: tuple[Metric, ...] = (
    Metric(
        "gbps",
        "GB/s",
        "The bytes that must move (every input and output element once: element size · N·C · (H·W + 1)) ÷ time, in "
        "units of 1,000,000,000 bytes a second. Null for operations other than global average pooling.",
        _gbps,
    ),
)
