"""What the processor counted during a call, where the machine allows: Linux's ``perf stat``, attached to the worker.

A counter that cannot be read is null with the reason. Virtual machines often have the events that the kernel counts
(page faults, context switches) and none of those that the hardware does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HARDWARE = ("instructions", "cycles", "cache-references", "cache-misses", "LLC-load-misses", "branch-misses")
SOFTWARE = ("page-faults", "context-switches", "cpu-migrations", "task-clock")
EVENTS = (*HARDWARE, *SOFTWARE)

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Counter:
    """How often something happened per call (``task-clock``: milliseconds on a core), or why that is not known."""

    name: str
    value: float | None
    reason: str | None = None


def unknown(reason: str, names: tuple[str, ...] = EVENTS) -> list[Counter]:
    """Return every counter as not known."""
    return [Counter(name, None, reason) for name in names]


def count(run: Callable[[], object], calls: int, program: str | None = None) -> list[Counter]:
    """Count while ``run`` makes ``calls`` calls in this process; counting begins and ends with it.

    ``program`` is perf, looked for by default. Never raises: what cannot be counted says why.
    """
    program = program or shutil.which("perf")
    if program is None:
        return unknown("perf is not installed; apt install linux-perf (Debian) or linux-tools-generic (Ubuntu)")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        try:
            with _attached(program, report):
                run()
            said = report.read_text(encoding="utf-8")
        except (OSError, subprocess.SubprocessError) as error:
            return unknown(f"perf stat did not answer: {_first_line(error)}")
    return parse(said, calls)


@contextlib.contextmanager
def _attached(program: str, report: Path) -> Iterator[None]:
    """Have perf attached to this process, counting from here until the end of the block."""
    control, told = os.pipe()
    answer, acknowledged = os.pipe()
    command = [program, "stat", "-x", ";", "-e", ",".join(EVENTS), "-p", str(os.getpid()), "-o", str(report)]
    command += ["--delay", "-1", "--control", f"fd:{control},{acknowledged}"]
    process = subprocess.Popen(
        command, pass_fds=(control, acknowledged), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    os.close(control)
    os.close(acknowledged)
    try:
        _tell(told, answer, "enable", process)
        yield
        _tell(told, answer, "disable", process)
    finally:
        os.close(told)
        os.close(answer)
        process.send_signal(signal.SIGINT)  # ends perf as Ctrl-C would, with its report
        process.wait(_PATIENCE)
        if process.stderr:
            process.stderr.close()


def _tell(told: int, answer: int, word: str, process: subprocess.Popen[str]) -> None:
    try:
        os.write(told, f"{word}\n".encode())
        acknowledged = os.read(answer, 16)
    except BrokenPipeError:
        acknowledged = b""
    if not acknowledged:  # perf has ended, and said why
        said = process.stderr.read() if process.stderr else ""
        raise OSError(" ".join(said.split()) or f"it exited with status {process.wait(_PATIENCE)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def parse(report: str, calls: int) -> list[Counter]:
    """Read what ``perf stat -x ;`` wrote, and return each of `EVENTS` per call."""
    lines = [line.split(";") for line in report.splitlines() if line.count(";") >= 2]
    # perf writes a modifier behind the name where it may count user code only
    values = {fields[2].partition(":")[0]: fields[0] for fields in lines}
    return [_counter(name, values.get(name), calls) for name in EVENTS]


def _counter(name: str, value: str | None, calls: int) -> Counter:
    match value:
        case None:
            return Counter(name, None, "perf stat did not report it")
        case "<not supported>":
            return Counter(name, None, "this machine does not count it; virtual machines often do not")
        case "<not counted>":
            return Counter(name, None, "perf stat did not get round to counting it")
    try:
        return Counter(name, float(value.replace(",", ".")) / calls)
    except ValueError:
        return Counter(name, None, f"perf stat reported {value!r}")
