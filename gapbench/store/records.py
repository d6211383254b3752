"""The schema of what is stored: columns, types and version (a contract: notebooks read these files directly).

Types are Arrow's names. Every column may be null, which means not measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from gapbench.store.metrics import METRICS
from gapbench.workloads.cases import Case

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
"""The schema's version of run.json, in which warnings are objects and comparisons have sides; version 1 is read too."""

TABLES = 1  # the schema's version of the Parquet files; a column that may be null is added without a new one

Number = Annotated[float, Meta(gt=-(2.0**63), lt=2.0**63)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # numbers of a document within the range of Arrow's types

THIS = "this"  # the contender of a plain run: the checkout and the interpreter that gapbench runs in
BASE, HEAD = "base", "head"  # the contenders of a run that compared two sides
NULL = "null"  # the contender that is a second copy of base in such a run, measured like a head
BAD = "bad"  # the third contender of a step of `gapbench bisect`, whose base is the good end and whose head is a commit
REFERENCE = "mean"  # the implementation of global average pooling that ratios are taken against
SLOWER = "slower"  # the stopped_by of an implementation that was shown to be `stats.CLEARLY_SLOWER` and stopped early

SAMPLES: dict[str, str] = {
    "run": "string", "case": "string", "implementation": "string", "contender": "string", "clock": "string",
    "memory": "string",  # one of MEMORY; null in runs from before that setting
    "round": "int32",
    "process": "int32",  # serial number of the fresh worker process within the run
    "turn": "int32",
    "position": "int32",  # in the turn's random order
    "calls": "int32", "seconds_per_call": "float64",
    "page_faults": "float64",  # minor page faults per call, where the host computes
    "instructions": "float64",  # of user code per call, without the harness's; null where perf events are refused
    "sm_clock_mhz": "float64", "temperature_c": "float64", "power_w": "float64", "throttle": "string",
    "steal": "float64",  # share of the worker's CPU time that the hypervisor gave to others, 0 to 1
}  # fmt: skip
"""One row per timed batch."""

RESULTS: dict[str, str] = {
    "run": "string", "suite": "string", "operation": "string", "label": "string", "case": "string",
    "shape": "string", "n": "int64", "c": "int64", "spatial": "string", "dtype": "string", "layout": "string",
    "device": "string", "pass": "string", "threads": "int32", "elements": "int64", "bytes_moved": "int64",
    "implementation": "string", "contender": "string", "clock": "string", "memory": "string",
    "status": "string", "reason": "string", "seconds": "float64", "seconds_low": "float64",
    "seconds_high": "float64", "ratio": "float64", "ratio_low": "float64", "ratio_high": "float64",
    "best": "string",  # the fastest implementation of the case by this clock, which best_ratio is taken against
    "best_ratio": "float64", "best_ratio_low": "float64",
    "best_ratio_high": "float64",  # null with a low bound where a slower implementation stopped early
    "rounds": "int32", "samples": "int32", "stopped_by": "string",
    **{metric.column: "float64" for metric in METRICS}, "ceiling_fraction": "float64", "max_error": "float64",
    "max_error_ulp": "float64", "peak_extra_bytes": "int64", "compile_seconds": "float64",
    "saved_bytes": "int64", "operators": "int32", "warm_compile_seconds": "float64", "graph_breaks": "int32",
    "recompilations": "int32",
    "reference": "string",  # the implementation that ratios are taken against
    "weight": "int32",  # how often the case occurs where its label says
    "parameters": "int64", "code_path": "string",
    "page_faults": "float64",  # minor page faults per call
    "instructions": "float64",  # of user code per call
    "allocated_bytes": "int64",  # asked of torch's CPU allocator by one call, its output included
    "deterministic": "bool",  # the same bits in every call on the same input
    "batch_invariant": "bool",  # the first sample alone gives the same bits as in its batch
    "ranked": "bool",  # false where the operation's implementations compute different things, so that none wins
    "cold": "bool",  # the input comes from memory by this clock, however small it is
    "times_launch": "bool",  # the clock times the launch and not the work, which no bandwidth limits
}  # fmt: skip
"""One row per case x implementation x contender x clock x memory."""

MEMORY: dict[str, str] = {
    "kept": "the allocator keeps what is freed and asks for huge pages, so that temporaries meet mapped memory",
    "fresh": "every block of 128 KiB or more is mapped anew, so that temporaries pay for page faults",
}
"""Conditions of the host's memory under which calls are timed."""

KEPT_TUNABLES = (
    "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824:"
    "glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1"
)
"""``GLIBC_TUNABLES`` under which memory is kept."""


class Status(StrEnum):
    """The outcome of an implementation on a case; only ``ok`` rows are ranked."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    WRONG = "wrong"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"

    @property
    def is_failure(self) -> bool:
        """Whether it can run here but gave no valid result."""
        return self not in (Status.OK, Status.UNSUPPORTED)


STATUSES: tuple[str, ...] = tuple(Status)
FAILURES: tuple[str, ...] = tuple(status for status in Status if status.is_failure)


@dataclass(frozen=True, slots=True)
class Qualification:
    """Facts about an implementation on a case from outside timed batches; None means not measured.

    ``status`` is one of `STATUSES`, ``reason`` a sentence with its remedy where it is not ok. ``max_error`` is the
    largest |y - reference| / mean|x| of a row.

    ``compile_seconds`` is the first call of a compiled function in a fresh process, ``warm_compile_seconds`` the same
    once Inductor's cache on disk holds it. ``saved_bytes`` is what autograd keeps for the backward pass, ``parameters``
    the number of weights, ``code_path`` the code that ran, if run time decides it. What would need another compilation
    is null. The other fields are as in `RESULTS`.
    """

    status: str = "ok"
    reason: str | None = None
    max_error: float | None = None
    max_error_ulp: float | None = None
    peak_extra_bytes: int | None = None
    saved_bytes: int | None = None
    operators: int | None = None
    compile_seconds: float | None = None
    warm_compile_seconds: float | None = None
    graph_breaks: int | None = None
    recompilations: int | None = None
    parameters: int | None = None
    code_path: str | None = None
    deterministic: bool | None = None
    batch_invariant: bool | None = None
    allocated_bytes: int | None = None


def with_memory(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return rows that can be grouped by memory, "" where an older run lacks it."""
    return frame.assign(memory=frame["memory"].astype(object).fillna("") if "memory" in frame else "")


def plain_rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return rows as dicts, with None for every kind of null."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


TRAITS = ("ranked", "cold", "times_launch")
"""Columns with attributes of a row's operation and clock, so that readers need not know their names."""


def former_traits(operation: str, clock: str) -> dict[str, bool]:
    """Return the `TRAITS` of a row from before these were stored, by its names of operation and clock."""
    return {
        "ranked": operation not in {"pooling", "classifier_head", "varying_size"},
        "cold": clock in {"host_cold", "event_cold", "graph_cold"},
        "times_launch": clock == "host_call",
    }


def with_traits(results: "pd.DataFrame") -> "pd.DataFrame":
    """Return results with `former_traits` where a row lacks its own."""
    traits = results[[*TRAITS]].astype(object)
    lacking = traits.isna().any(axis=1)
    if lacking.any():
        names = zip(results.loc[lacking, "operation"], results.loc[lacking, "clock"], strict=True)
        traits.loc[lacking] = [[*former_traits(*pair).values()] for pair in names]
    return results.assign(**{name: traits[name].astype(bool) for name in TRAITS})


_OF_CASE = (
    "operation", "label", "n", "c", "dtype", "layout", "device", "threads", "elements", "bytes_moved", "weight",
)  # fmt: skip


def case_columns(case: Case) -> dict[str, object]:
    """Return the columns of `RESULTS` that describe ``case``."""
    shapes = {name: "x".join(map(str, getattr(case, name))) for name in ("shape", "spatial")}
    return {"case": case.id, **shapes, "pass": case.pass_} | {name: getattr(case, name) for name in _OF_CASE}
