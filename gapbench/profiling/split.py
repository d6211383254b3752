"""Split the caller's time into Python, dispatch, allocation, kernels and gaps, as shares of the *measured* time.

docs/profiling.md explains how, and why no share comes from a profile alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gapbench.profiling.events import allocates

OUTSIDE = ""  # replaces an operator's name for code outside of operators
_MUCH = 0.25

PARTS = ("python", "dispatch", "allocation", "kernel", "gaps", "unexplained")


@dataclass(frozen=True, slots=True)
class Observed:
    """Calls of one size, all figures per call.

    For ``on_core`` of ``seconds`` the caller's thread was on a core; ``faults`` pages were touched for the first time.
    ``profiled_*`` are the same with the profiler. ``own`` has the own seconds by operator (and `OUTSIDE`), ``beneath``
    the direct children of each, ``calls`` its calls. ``busy_seconds`` is an accelerator's, None on the CPU.
    """

    seconds: float
    on_core: float
    profiled_seconds: float
    profiled_on_core: float
    own: Mapping[str, float]
    beneath: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, float] = field(default_factory=dict)
    faults: float = 0.0
    profiled_faults: float = 0.0
    busy_seconds: float | None = None

    @property
    def seconds_per_event(self) -> float:
        """The seconds that the profiler adds for each event."""
        added = max(0.0, self.profiled_on_core - self.on_core)
        return added / max(1.0, sum(self.beneath.values()))

    @property
    def own_on_core(self) -> dict[str, float]:
        """The own seconds on a core, on the assumption that time off the core is spread evenly."""
        share = min(1.0, self.profiled_on_core / self.profiled_seconds) if self.profiled_seconds > 0 else 1.0
        return {name: seconds * share for name, seconds in self.own.items()}


@dataclass(frozen=True, slots=True)
class Split:
    """Seconds of each of `PARTS`; ``fault_seconds`` are the part of allocation due to page faults."""

    seconds: float
    parts: Mapping[str, float]
    fault_seconds: float = 0.0

    def share(self, part: str) -> float:
        """Return a part in per cent of the measured time."""
        return 100 * self.parts[part] / self.seconds


def split(case: Observed, one_element: Observed | None, seconds_per_fault: float = 0.0) -> Split:
    """Split the case's time (docs/profiling.md); without ``one_element`` all operators that do not allocate compute."""
    if case.busy_seconds is not None:
        return _on_accelerator(case, case.busy_seconds)
    if one_element is None:
        python, dispatch, allocation = fixed(case)
        kernel, dispatch, outside = dispatch, 0.0, 0.0
    else:
        python, dispatch, allocation = fixed(one_element)
        grown, more_dispatch = _growth(case, one_element)
        dispatch += more_dispatch
        allocation += max(0.0, sum(value for name, value in grown.items() if allocates(name)))
        kernel = max(0.0, sum(value for name, value in grown.items() if name != OUTSIDE and not allocates(name)))
        outside = max(0.0, grown.get(OUTSIDE, 0.0))
        if outside > max(kernel, _MUCH * case.on_core):  # another runtime computes
            kernel, outside = kernel + outside, 0.0
    # Times of the profile include its own faults: subtract them, and add those without the profiler.
    profiled = case.profiled_faults - (one_element.profiled_faults if one_element else 0.0)
    in_profile = max(0.0, profiled) * seconds_per_fault
    of_outside = min(in_profile, outside)  # temporaries are freed there
    of_kernel = min(in_profile - of_outside, kernel)
    subtracted = (of_outside + of_kernel) / in_profile if in_profile else 1.0
    faults = case.faults * seconds_per_fault * subtracted
    parts = {
        "python": python + outside - of_outside, "dispatch": dispatch, "allocation": allocation + faults,
        "kernel": kernel - of_kernel, "gaps": case.seconds - case.on_core,
    }  # fmt: skip
    return Split(case.seconds, parts | {"unexplained": case.seconds - sum(parts.values())}, faults)


def fixed(observed: Observed) -> tuple[float, float, float]:
    """Divide the measured time on a core into Python, dispatch and allocation, in seconds."""
    own = observed.own_on_core
    each = observed.seconds_per_event
    paid = {name: max(0.0, seconds - each * observed.beneath.get(name, 0.0)) for name, seconds in own.items()}
    if not sum(paid.values()):
        paid = own
    total = sum(paid.values())
    scale = observed.on_core / total if total else 0.0
    python = paid.get(OUTSIDE, 0.0)
    allocation = sum(seconds for name, seconds in paid.items() if allocates(name))
    return python * scale, max(0.0, total - python - allocation) * scale, allocation * scale


def _growth(case: Observed, one_element: Observed) -> tuple[dict[str, float], float]:
    each = one_element.seconds_per_event
    large, small = (
        {name: seconds - each * observed.beneath.get(name, 0.0) for name, seconds in observed.own_on_core.items()}
        for observed in (case, one_element)
    )
    more = {
        name: max(0.0, seconds) * (case.calls[name] / one_element.calls[name] - 1)
        for name, seconds in small.items()
        if not allocates(name) and 0 < one_element.calls.get(name, 0.0) < case.calls.get(name, 0.0)
    }
    grown = {name: large.get(name, 0.0) - small.get(name, 0.0) - more.get(name, 0.0) for name in {**large, **small}}
    return grown, sum(more.values())


def _on_accelerator(case: Observed, busy: float) -> Split:
    kernel = min(busy, case.seconds)
    idle = case.seconds - kernel
    hosts = fixed(case)
    scale = min(1.0, idle / sum(hosts)) if sum(hosts) else 0.0
    python, dispatch, allocation = (seconds * scale for seconds in hosts)
    parts = {"python": python, "dispatch": dispatch, "allocation": allocation, "kernel": kernel}
    return Split(case.seconds, parts | {"gaps": idle - python - dispatch - allocation, "unexplained": 0.0})
