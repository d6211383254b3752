"""Is what a worker says an answer to what it was asked? The parent counts on that, whoever wrote the worker's code.

It does not say that the numbers are true: an implementation that shares a process with the clock can forge them.
"""

import math
from collections.abc import Collection, Mapping

from gapbench.measuring.messages import fits
from gapbench.measuring.relay import Calibrated
from gapbench.measuring.rounds import Assignment, Fault, RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.records import SAMPLES, STATUSES, Qualification

_TELEMETRY = ("sm_clock_mhz", "temperature_c", "power_w", "throttle", "steal")
_TYPES = {"float64": float | None, "string": str | None}
_MOST = 2**31 - 1  # what a sample's columns hold

UNASKED = "its process answered what it was not asked"


def qualification(said: Qualification) -> bool:
    """Tell whether a judgement is one."""
    return said.status in STATUSES and (said.status == "ok") == (said.reason is None)


def fault(said: Fault, assignment: Assignment) -> bool:
    """Tell whether a fault is of someone who took part."""
    known = said.contender is None or 0 <= said.contender < len(assignment.specs)
    return known and said.status in STATUSES[1:] and (said.clock is None or said.clock in assignment.entries)


def result(said: RoundResult, assignment: Assignment) -> bool:
    """Tell whether a result has the same number of batches of everyone who was to be timed, and no others."""
    return (
        said.batches.keys() == assignment.entries.keys()
        and all(_batches(said.batches[clock], entries) for clock, entries in assignment.entries.items())
        and all(name in _TELEMETRY and fits(one, _TYPES[SAMPLES[name]]) for name, one in said.telemetry.items())
        and all(map(math.isfinite, said.slowdowns.values()))
    )


def _batches(said: Batches, entries: Collection[int]) -> bool:
    counts = [said.contender.count(index) for index in entries]
    columns = (said.turn, said.position, said.calls, said.seconds_per_call)
    return (
        counts[0] > 0
        and len(set(counts)) == 1
        and all(len(column) == len(said.contender) == sum(counts) for column in columns)
        and all(0 <= one <= _MOST for column in (said.turn, said.position) for one in column)
        and all(0 < one <= _MOST for one in said.calls)
        and all(0 <= one < math.inf for one in said.seconds_per_call)
    )


def calibrated(said: object, assignment: Assignment) -> bool:
    """Tell whether a side says how many calls make a batch of each contender of one of the clocks."""
    return (
        fits(said, Calibrated)
        and isinstance(said, Mapping)
        and any(said.keys() == set(entries) for entries in assignment.entries.values())
        and all(0 < calls <= _MOST and 0 <= seconds < math.inf for calls, seconds in said.values())
    )
