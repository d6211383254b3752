"""What a GPU counted: Nsight Compute (``ncu``) around a process of its own, and Proton (``triton.profiler``) inside.

Both are used where they are there, and say why where they are not. Neither has met a real GPU yet: they are tested with
stand-ins that answer what was recorded of them.
"""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from gapbench import inputs, operations
from gapbench.cases import Case
from gapbench.devices import device
from gapbench.measuring import prepared, worker_env
from gapbench.passes import bind
from gapbench.profiling.counters import Counter, unknown

METRICS = {
    "dram__bytes_read.sum": "dram-bytes-read",
    "dram__bytes_write.sum": "dram-bytes-written",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy",
    "smsp__inst_executed.sum": "instructions",
    "gpu__time_duration.sum": "kernel-seconds",
}
"""What is asked of ncu, and what it is called here: bytes, per cent of the warps that fit, seconds."""

NAMES = tuple(METRICS.values())
_UNITS = {
    "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "nsecond": 1e-9, "usecond": 1e-6, "msecond": 1e-3,
    "second": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0,
}  # fmt: skip
_REPLAY = "from gapbench.profiling.gpu_counters import replay; replay({case!r}, {spec!r})"
_RANGE = "gapbench"
"""The NVTX range in which ncu looks."""


def ncu(case: str, spec: str, program: str | None = None, patience: float = 300.0) -> list[Counter]:
    """Profile one warm call of ``spec`` on the case of this id in a process of its own; add its kernels up."""
    program = program or shutil.which("ncu")
    if program is None:
        return unknown("ncu is not installed; it comes with the CUDA toolkit, as Nsight Compute", NAMES)
    command = [program, "--csv", "--nvtx", "--nvtx-include", f"{_RANGE}/", "--metrics", ",".join(METRICS)]
    command += [sys.executable, "-P", "-c", _REPLAY.format(case=case, spec=spec)]
    try:
        done = subprocess.run(
            command, env=worker_env.environment(), capture_output=True, text=True, timeout=patience, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return unknown(f"ncu did not answer: {error}", NAMES)
    return parse_ncu(done.stdout)


def replay(case_id: str, spec: str) -> None:
    """Make a call twice in a process that ncu watches, the second time inside an NVTX range called `_RANGE`."""
    case = Case.from_id(case_id)
    prepared.make_ready(case)
    implementation = operations.load(spec)
    function = implementation.prepare(case)
    call = bind(case, function, inputs.sample(case, 0), inputs.upstream(case, 0, implementation.truth.shape(case)))
    call()
    where = device(case.device)
    where.synchronize()
    torch.cuda.nvtx.range_push(_RANGE)  # type: ignore[no-untyped-call]
    call()
    where.synchronize()
    torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]


def parse_ncu(said: str) -> list[Counter]:
    """Read ``ncu --csv``: sums over all kernels, and the occupancy of the one that ran longest."""
    errors = [line.removeprefix("==ERROR==").strip() for line in said.splitlines() if line.startswith("==ERROR==")]
    if errors:  # ERR_NVGPUCTRPERM: the driver keeps counters for administrators
        return unknown(f"ncu: {errors[0]}", NAMES)
    kernels: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(line for line in said.splitlines() if line.startswith('"')):
        name = METRICS.get(row.get("Metric Name", ""))
        if name is None:
            continue
        try:
            value = float(row["Metric Value"].replace(",", "")) * _UNITS.get(row["Metric Unit"], 1.0)
        except (KeyError, ValueError):
            continue
        kernels.setdefault(row.get("ID", ""), {})[name] = value
    if not kernels:
        return unknown("ncu saw no kernel", NAMES)
    return [_over_kernels(name, list(kernels.values())) for name in NAMES]


def _over_kernels(name: str, kernels: list[dict[str, float]]) -> Counter:
    if name == "occupancy":
        kernels = [max(kernels, key=lambda one: one.get("kernel-seconds", 0.0))]
    values = [one[name] for one in kernels if name in one]
    return Counter(name, sum(values)) if values else Counter(name, None, "ncu did not report it")


def proton(run: Callable[[], object], calls: int, module: Any = None) -> tuple[dict[str, float], str | None]:
    """Return the seconds per call of every kernel by Proton while ``run`` makes ``calls`` calls; or none, and why.

    ``module`` is ``triton.profiler``, imported by default.
    """
    if module is None:
        if importlib.util.find_spec("triton") is None:
            return {}, "triton is not installed; pip install 'gapbench[triton]'"
        try:
            module = importlib.import_module("triton.profiler")
        except ImportError as error:
            return {}, f"triton has no profiler: {error}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            module.start(str(Path(folder, "proton")))
            run()
            module.finalize()
            tree = json.loads(Path(folder, "proton.hatchet").read_text(encoding="utf-8"))
        except Exception as error:  # whatever the backend of another vendor raises
            return {}, f"Proton did not answer: {type(error).__name__}: {error}"
    seconds: dict[str, float] = {}
    for name, nanoseconds in _leaves(tree):
        seconds[name] = seconds.get(name, 0.0) + nanoseconds * 1e-9 / calls
    return seconds, None if seconds else "Proton saw no kernel"


def _leaves(tree: Any) -> Iterator[tuple[str, float]]:
    """Yield every kernel of a hatchet tree, a list of nodes (the last describes the device), with nanoseconds."""
    for node in tree:
        if not isinstance(node, Mapping) or "frame" not in node:
            continue
        metrics = node.get("metrics") or {}
        found = next((float(value) for name, value in metrics.items() if name.startswith("time (ns)")), None)
        if not node.get("children") and found is not None:
            yield str(node["frame"].get("name")), found
        yield from _leaves(node.get("children") or [])
