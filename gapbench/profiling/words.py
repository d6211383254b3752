"""What dominates a call, as a sentence with its numbers."""

from collections.abc import Sequence

from gapbench.profiling.events import GENERATED
from gapbench.profiling.operators import Operator, computes
from gapbench.profiling.split import PARTS, Split

_MANY_FAULTS = 25.0
"""Per cent of the time from which page faults are worth a clause of their own."""

_MUCH_LOST = 10.0
"""The same for a caller's thread that was on no core."""


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
    spent = [one for one in PARTS if one != "unexplained" and (on_accelerator or one != "gaps")]
    part = max(spent, key=split.share)
    return _what(subject, part, split, rows, fault_bytes, forward) + ("" if on_accelerator else _lost(split))


def _what(subject: str, part: str, split: Split, rows: Sequence[Operator], fault_bytes: int, forward: bool) -> str:
    share = f"{split.share(part):.0f} %"
    faults = 100 * split.fault_seconds / split.seconds
    if part == "gaps":
        idle = "the accelerator has nothing to do, and the host's own work does not account for it"
        return f"{share} of {subject} is waiting: {idle}"
    if part == "dispatch":
        count = sum(row.calls for row in rows if not row.device)
        return f"{share} of {subject} is dispatch, of {count:.0f} operators: there is little to compute"
    if part == "python":
        what = "Python" if forward else "Python and autograd's engine"
        return f"{share} of {subject} is {what}, outside of every operator"
    if faults < _MANY_FAULTS and part == "allocation":
        return f"{share} of {subject} is getting memory from the allocator"
    clauses = [_most(subject, rows, split)] if part == "kernel" or faults >= _MANY_FAULTS else []
    if faults >= _MANY_FAULTS:
        clauses.append(
            f"{faults:.0f} % of the time is page faults: the operating system hands out {_megabytes(fault_bytes)} anew "
            "in every call"
        )
    return "; ".join(filter(None, clauses))


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


def _lost(split: Split) -> str:
    share = split.share("gaps")
    if share < _MUCH_LOST:
        return ""
    return f"; for {share:.0f} % the caller's thread was on no core: it waited for others, or other work had it"


def _megabytes(value: int) -> str:
    return f"{value / 1e6:.3g} MB"
