"""Where the caller's time goes: Python, dispatch, allocation, kernels and gaps, in shares of the *measured* time.

A profiler makes what it watches slower, by about 0.4 µs for every event on a CPU: a mean of one element takes 3 µs,
and 7 while it is watched. So no share is taken from a profile alone. The same implementation is measured and profiled
twice: on the case, and on a case of one element, whose kernels do nothing.

- **fixed**: what the call of one element takes, measured without the profiler, is what Python, dispatch and allocation
  cost at any size. Its profile only says how to divide it: own times of allocating operators, of all other operators,
  and what lies outside of operators. From each the events beneath it are paid first, every one with the same part of
  (profiled - measured) time: an event is written down before its clock starts and after it ends.
- **growth**: by how much the own times exceed those of one element. Where both profiles have the same events, what the
  profiler adds cancels; more events are paid as above, and an operator that is called more often is dispatched as much
  more often. Growth of allocating operators is allocation, growth outside of operators is Python (or the kernel, where
  it is most of the growth and much of the time: another runtime computed), all other growth is the kernel.
- **page faults** are allocation, wherever they happen. Memory that the operating system has just given is made when it
  is first touched, inside the kernel that does so, and unmade when it is freed. They are counted, with the profiler
  (and taken out of kernels) and without it (and added), and what one costs is measured: filling fresh memory against
  filling memory that is there already.
- **gaps** are the share of the time that the caller's thread was on no core (waiting, or preempted), by its CPU clock.
- **unexplained** is what is left of the measured time, below 0 where too much was found: the other shares add up to
  100 % of the measured time but for it. Cold caches, and other work on the machine between two windows, are in it.

On an accelerator the kernels' own clocks tell how long at least one of them ran; while none did, the host is what
is waited for, as far as its own work goes, and the rest is gaps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gapbench.profiling.events import GENERATED, Operator, allocates, computes

OUTSIDE = ""  # in place of an operator's name: what ran outside of operators

_MUCH = 0.25

PARTS = ("python", "dispatch", "allocation", "kernel", "gaps", "unexplained")


@dataclass(frozen=True, slots=True)
class Observed:
    """Calls of one size, all figures per call.

    ``seconds`` are measured without the profiler; ``on_core`` of them the caller's thread was on a core, ``faults``
    pages were touched for the first time. Those that begin with ``profiled`` are the same under it; ``own`` are the own
    seconds by operator (`OUTSIDE` too), which add up to ``profiled_seconds``, ``beneath`` how many events lie directly
    beneath each, ``calls`` how often each is called. ``busy_seconds`` is how long an accelerator computed, None on the
    CPU.
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
        """Return what the profiler adds for each event."""
        added = max(0.0, self.profiled_on_core - self.on_core)
        return added / max(1.0, sum(self.beneath.values()))

    @property
    def own_on_core(self) -> dict[str, float]:
        """Return the own seconds without those on no core, which are taken to lie evenly among them."""
        share = min(1.0, self.profiled_on_core / self.profiled_seconds) if self.profiled_seconds > 0 else 1.0
        return {name: seconds * share for name, seconds in self.own.items()}


@dataclass(frozen=True, slots=True)
class Split:
    """Seconds of each of `PARTS`.

    ``fault_seconds`` are those of allocation that page faults took; ``other_runtime`` says that the kernel is code
    outside of PyTorch's operators.
    """

    seconds: float
    parts: Mapping[str, float]
    fault_seconds: float = 0.0
    other_runtime: bool = False

    def share(self, part: str) -> float:
        """Return a part in per cent of the measured time."""
        return 100 * self.parts[part] / self.seconds


def split(case: Observed, one_element: Observed | None, seconds_per_fault: float = 0.0) -> Split:
    """Return the split of the case's measured time; see the module's docstring.

    Without ``one_element`` what is fixed is told by the case's own profile, and all time of operators that are not
    beneath another is the kernel's.
    """
    if case.busy_seconds is not None:
        return _on_accelerator(case, case.busy_seconds)
    other_runtime = False
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
        other_runtime = outside > max(kernel, _MUCH * case.on_core)
        if other_runtime:
            kernel, outside = kernel + outside, 0.0
    # The profile's own faults are in its times: they are taken out, and those without the profiler put in their place.
    profiled = case.profiled_faults - (one_element.profiled_faults if one_element else 0.0)
    in_profile = max(0.0, profiled) * seconds_per_fault
    of_outside = min(in_profile, outside)  # temporaries are freed there
    of_kernel = min(in_profile - of_outside, kernel)
    seen = (of_outside + of_kernel) / in_profile if in_profile else 1.0
    faults = case.faults * seconds_per_fault * seen
    parts = {
        "python": python + outside - of_outside,
        "dispatch": dispatch,
        "allocation": allocation + faults,
        "kernel": kernel - of_kernel,
        "gaps": case.seconds - case.on_core,
    }
    return Split(case.seconds, parts | {"unexplained": case.seconds - sum(parts.values())}, faults, other_runtime)


def fixed(observed: Observed) -> tuple[float, float, float]:
    """Return the seconds of Python, dispatch and allocation, which add up to the measured time on a core."""
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
    """Return by how much each operator's own seconds grow, and what dispatching it more often takes."""
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


_MANY_FAULTS, _MUCH_LOST = 25.0, 10.0
"""Per cent of the time from which page faults, and a thread that was on no core, are worth a clause of their own."""


def sentence(
    name: str,
    dtype: str,
    split: Split,
    rows: Sequence[Operator],
    fault_bytes: int = 0,
    on_accelerator: bool = False,
    forward: bool = True,
) -> str:
    """Say what takes the time of the implementation ``name``; ``rows`` are its table, with times as profiled.

    ``fault_bytes`` are those of the pages that one call touches for the first time.
    """
    subject = f"`{name}` in {dtype}"
    # On a CPU other work took what is in gaps, which says little of the implementation.
    spent = [part for part in PARTS if part != "unexplained" and (on_accelerator or part != "gaps")]
    part = max(spent, key=split.share)
    share, faults = f"{split.share(part):.0f} % of {subject} is", 100 * split.fault_seconds / split.seconds
    match part:
        case "gaps":
            idle = "the accelerator has nothing to do, and the host's own work does not account for it"
            said = f"{share} waiting: {idle}"
        case "dispatch":
            count = sum(row.calls for row in rows if not row.device)
            said = f"{share} dispatch, of {count:.0f} operators: there is little to compute"
        case "python":
            what = "Python" if forward else "Python and autograd's engine"
            said = f"{share} {what}, outside of every operator"
        case "allocation" if faults < _MANY_FAULTS:
            said = f"{share} getting memory from the allocator"
        case _:
            said = _most(subject, rows, split)
            if faults >= _MANY_FAULTS:
                said += f"; {faults:.0f} % of the time is page faults: the operating system hands out "
                said += f"{fault_bytes / 1e6:.3g} MB anew in every call"
    lost = 0.0 if on_accelerator else split.share("gaps")
    if lost < _MUCH_LOST:
        return said
    return f"{said}; for {lost:.0f} % the caller's thread was on no core: it waited for others, or other work had it"


def _most(subject: str, rows: Sequence[Operator], split: Split) -> str:
    """Say which operator or kernel takes most, in per cent of the time of all."""
    on_device = any(row.device for row in rows)
    able = [row for row in rows if row.device == on_device and (row.device or computes(row.name))]
    if not able or split.other_runtime:
        return f"{split.share('kernel'):.0f} % of {subject} is code of another runtime, outside of PyTorch's operators"
    top = max(able, key=lambda row: row.self_seconds)
    total = sum(row.self_seconds for row in rows if row.device == on_device)
    share = 100 * top.self_seconds / total if total else 0.0
    rate = f", at {top.gbps:.3g} GB/s" if top.gbps else ""
    return f"{share:.0f} % of {subject} is {label(top)}{rate}"


def label(row: Operator) -> str:
    """Return what a person would call an operator."""
    if row.name == GENERATED:
        return "code that Inductor generated"
    if row.name in ("aten::copy_", "aten::_to_copy") and len(set(row.dtypes)) == 2:
        return f"the copy to {row.dtypes[0]}"
    return row.name
