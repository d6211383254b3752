"""Documents of profiles that never were, as gapbench.profiling.profiles makes them."""

from factories import CASE

MEMORY = [[0.0, 0], [1e-6, 4096], [2e-5, 0]]


def operator(name="aten::sum", dtypes=("float32",), self_seconds=8e-6, **changes):
    whole = {"calls": 1.0, "total_seconds": self_seconds, "bytes": 1e6, "device": False, "gbps": 125.0}
    return {"name": name, "dtypes": list(dtypes), "self_seconds": self_seconds, **whole, **changes}


def document(implementation="mean", case=CASE, seconds=1e-5, **changes):
    """Return what is known of an implementation that was profiled; ``status`` makes it one that was not."""
    known = {
        "schema": 1, "case": case.id, "implementation": implementation, "dtype": case.dtype,
        "bytes_moved": case.bytes_moved, "versions": {"torch": "2.13.0"}, "status": "ok", "reason": None, "files": [],
    }  # fmt: skip
    if changes.get("status", "ok") != "ok":
        return known | {"reason": "it cannot"} | changes
    shares = {"python": 10.0, "dispatch": 20.0, "allocation": 5.0, "kernel": 64.0, "gaps": 0.5, "unexplained": 0.5}
    measured = {
        "family": "eager", "seconds": seconds, "shares": shares, "page_faults": 0.0, "page_fault_share": 0.0,
        "one_element_seconds": 3e-6, "profiled_seconds": 2 * seconds, "calls": 200, "attempts": 1, "gbps": 1.5,
        "operators": [operator()], "peak_extra_bytes": 4096, "memory": MEMORY, "generated": None,
        "counters": [
            {"name": "cycles", "value": None, "reason": "this machine does not count it"},
            {"name": "page-faults", "value": 0.5, "reason": None},
        ],
        "trace_calls": 5, "notes": [], "files": ["trace.json.gz"],
    }  # fmt: skip
    return known | measured | changes
