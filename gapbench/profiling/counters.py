"""Read the counters of processors during a call, or the reasons why they cannot be read.

CPU counters come from Linux's ``perf stat``, attached to the worker. GPU counters come from Nsight Compute (``ncu``)
around a process of its own, which has not run on a real GPU yet: it is tested with a fake that replays recorded output.
"""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from gapbench import operations
from gapbench.machine.devices import device
from gapbench.measuring import prepared, worker_env
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import make_call

EVENTS = (
    "instructions", "cycles", "cache-references", "cache-misses", "LLC-load-misses", "branch-misses",
    "page-faults", "context-switches", "cpu-migrations", "task-clock",
)  # fmt: skip

_UNCOUNTED = {
    "": "perf stat did not report it",
    "<not supported>": "this machine does not count it; virtual machines often do not",
    "<not counted>": "perf stat had no time to count it",
}

_PATIENCE, _NCU_PATIENCE = 10.0, 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Counter:
    """The number of events per call (``task-clock``: milliseconds on a core), or the reason why it is unknown."""

    name: str
    value: float | None
    reason: str | None = None


def unknown(reason: str, names: tuple[str, ...] = EVENTS) -> list[Counter]:
    """Return every counter as unknown, with the reason."""
    return [Counter(name, None, reason) for name in names]


def count(run: Callable[[], object], calls: int, program: str | None = None) -> list[Counter]:
    """Count events while ``run`` makes ``calls`` calls, by perf or ``program``; what is unreadable has a reason."""
    program = program or shutil.which("perf")
    if program is None:
        return unknown("perf is not installed; apt install linux-perf (Debian) or linux-tools-generic (Ubuntu)")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        try:
            with _attached(program, report):
                run()
            text = report.read_text(encoding="utf-8")
        except (OSError, subprocess.SubprocessError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            return unknown(f"perf stat did not answer: {first_line}")
    return parse(text, calls)


@contextlib.contextmanager
def _attached(program: str, report: Path) -> Iterator[None]:
    control, to_perf = os.pipe()
    answer, acknowledged = os.pipe()
    command = [program, "stat", "-x", ";", "-e", ",".join(EVENTS), "-p", str(os.getpid()), "-o", str(report)]
    command += ["--delay", "-1", "--control", f"fd:{control},{acknowledged}"]
    process = subprocess.Popen(
        command, pass_fds=(control, acknowledged), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    os.close(control)
    os.close(acknowledged)
    try:
        _send(to_perf, answer, "enable", process)
        yield
        _send(to_perf, answer, "disable", process)
    finally:
        os.close(to_perf)
        os.close(answer)
        process.send_signal(signal.SIGINT)  # ends perf as Ctrl-C would, with its report
        process.wait(_PATIENCE)
        if process.stderr:
            process.stderr.close()


def _send(to_perf: int, answer: int, word: str, process: subprocess.Popen[str]) -> None:
    """Send a control word to perf. Raises `OSError` with perf's own message if it has ended."""
    try:
        os.write(to_perf, f"{word}\n".encode())
        acknowledged = os.read(answer, 16)
    except BrokenPipeError:
        acknowledged = b""
    if not acknowledged:
        text = process.stderr.read() if process.stderr else ""
        raise OSError(" ".join(text.split()) or f"it exited with status {process.wait(_PATIENCE)}")


def parse(report: str, calls: int) -> list[Counter]:
    """Parse the output of ``perf stat -x ;``, and return each of `EVENTS` per call."""
    lines = [line.split(";") for line in report.splitlines() if line.count(";") >= 2]
    # perf appends a modifier to the name if it may count only user code
    values = {fields[2].partition(":")[0]: fields[0] for fields in lines}
    counted = []
    for name in EVENTS:
        value = values.get(name, "")
        try:
            counted.append(Counter(name, float(value.replace(",", ".")) / calls))
        except ValueError:
            counted.append(Counter(name, None, _UNCOUNTED.get(value, f"perf stat reported {value!r}")))
    return counted


METRICS = {
    "dram__bytes_read.sum": "dram-bytes-read",
    "dram__bytes_write.sum": "dram-bytes-written",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy",
    "smsp__inst_executed.sum": "instructions",
    "gpu__time_duration.sum": "kernel-seconds",
}
"""The metrics of ncu, and their names here: bytes, per cent of the warps that fit, seconds."""

NAMES = tuple(METRICS.values())
_UNITS = {
    "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "nsecond": 1e-9, "usecond": 1e-6, "msecond": 1e-3,
    "second": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0,
}  # fmt: skip
_REPLAY = "from gapbench.profiling.counters import replay; replay({case!r}, {spec!r})"
_RANGE = "gapbench"  # the NVTX range that ncu profiles


def ncu(case: str, spec: str, program: str | None = None) -> list[Counter]:
    """Profile one warm call of ``spec`` on the case with this id in its own process, and add up its kernels."""
    program = program or shutil.which("ncu")
    if program is None:
        return unknown("ncu is not installed; it comes with the CUDA toolkit, as Nsight Compute", NAMES)
    # ncu's defaults flush the caches before each kernel and lock the base clock: that would not be a warm call.
    command = [program, "--csv", "--cache-control", "none", "--clock-control", "none", "--print-units", "base"]
    command += ["--nvtx", "--nvtx-include", f"{_RANGE}/", "--metrics", ",".join(METRICS)]
    command += [sys.executable, "-P", "-c", _REPLAY.format(case=case, spec=spec)]
    try:
        done = subprocess.run(
            command, env=worker_env.environment(), capture_output=True, text=True, timeout=_NCU_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return unknown(f"ncu did not answer: {error}", NAMES)
    return parse_ncu(done.stdout)


def replay(case_id: str, spec: str) -> None:
    """Make a call twice in a process under a profiler, the second time inside the NVTX range `_RANGE` (on CUDA)."""
    case = Case.from_id(case_id)
    prepared.make_ready(case)
    implementation = operations.load(spec)
    function = implementation.prepare(case)
    call = make_call(case, function, inputs.sample(case, 0), inputs.upstream(case, 0, implementation.truth.shape(case)))
    call()
    target = device(case.device)
    target.synchronize()
    with torch.cuda.nvtx.range(_RANGE) if case.device.startswith("cuda") else contextlib.nullcontext():
        call()
        target.synchronize()


def parse_ncu(output: str) -> list[Counter]:
    """Parse the output of ``ncu --csv``: sums over all kernels, and the occupancy of the longest one."""
    errors = [line.removeprefix("==ERROR==").strip() for line in output.splitlines() if line.startswith("==ERROR==")]
    if errors:  # such as ERR_NVGPUCTRPERM: the driver restricts counters to administrators
        return unknown(f"ncu: {errors[0]}", NAMES)
    kernels: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(line for line in output.splitlines() if line.startswith('"')):
        name = METRICS.get(row.get("Metric Name", ""))
        if name is None:
            continue
        try:
            value = float(row["Metric Value"].replace(",", "")) * _UNITS.get(row["Metric Unit"], 1.0)
        except (KeyError, ValueError):
            continue
        kernels.setdefault(row.get("ID", ""), {})[name] = value
    if not kernels:
        return unknown("ncu reported no kernel", NAMES)
    longest = max(kernels.values(), key=lambda kernel: kernel.get("kernel-seconds", 0.0))
    counted = []
    for name in NAMES:
        counting = [longest] if name == "occupancy" else kernels.values()
        values = [kernel[name] for kernel in counting if name in kernel]
        counted.append(Counter(name, sum(values)) if values else Counter(name, None, "ncu did not report it"))
    return counted
