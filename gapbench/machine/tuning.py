"""Fix a GPU's clock: persistence on, SM clock locked, and both restored however the work ends.

A note beside the locks says what was changed. The driver keeps it until the machine restarts (source: NVML API
reference, "Device Commands"), so notes from before a restart are void.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import device_lock
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.nvml import Gpu
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError
from gapbench.store import durable_io

_SAMPLE_SECONDS = 0.05


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was changed on a GPU: ``persistence`` before, the locked ``clock`` in MHz; by which process, and when."""

    uuid: str
    clock: int
    persistence: bool
    pid: int
    started: float
    booted: float

    @property
    def holds(self) -> bool:
        """Whether the process still runs, which will restore the GPU."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1
        except psutil.Error:
            return False

    @property
    def undo(self) -> str:
        """The command with which an administrator restores the GPU."""
        return f"sudo nvidia-smi -i {self.uuid} -rgc && sudo nvidia-smi -i {self.uuid} -pm {int(self.persistence)}"


@contextmanager
def gpus(chosen: str | None = None) -> Iterator[list[Gpu]]:
    """Yield the GPU of a UUID or an index as ``nvidia-smi`` counts, or all. Raises `GapbenchError` if there is none."""
    reasons = Reasons()
    with nvml.every_gpu(reasons) as every:
        names = [(str(index), gpu.uuid()) for index, gpu in enumerate(every)]
        named = [gpu for gpu, own in zip(every, names, strict=True) if chosen is None or chosen in own]
        if not named:
            listed = ", ".join(f"{index} ({uuid})" for index, uuid in names)
            why = f"there are: {listed}" if names else "; ".join(reasons.unreadable.values()) or "NVML lists none"
            raise GapbenchError(f"there is no GPU {chosen!r}; {why}" if names else f"no NVIDIA GPU can be tuned: {why}")
        yield named


def sustained_clock(gpu: Gpu, seconds: float, is_loaded: Callable[[], bool]) -> int:
    """Return the highest SM clock in MHz that the GPU holds under load for ``seconds``. Raises `GapbenchError`."""
    readings: list[float] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if not is_loaded():
            raise GapbenchError("the load for finding the clock ended early; name a clock with --sm-clock")
        if passed >= seconds / 2:
            readings.append(gpu.sm_clock_mhz())
        time.sleep(_SAMPLE_SECONDS)
    supported = gpu.supported_sm_clocks()
    return max([clock for clock in supported if clock <= min(readings)], default=min(supported))


@contextmanager
def tuned(gpu: Gpu, clock: int, folder: Path | None = None) -> Iterator[None]:
    """Switch persistence on and lock the SM clock to ``clock`` MHz; restore both at the end. Raises `RefusedError`."""
    uuid, own = gpu.uuid(), psutil.Process()
    path = _path(uuid, folder)
    earlier = _read(path)
    if earlier is not None and earlier.holds:
        raise RefusedError(f"GPU {uuid} is tuned by process {earlier.pid} already; run again when that has ended")
    note = None
    try:
        persistence = gpu.persistence() if earlier is None else earlier.persistence
        note = Note(uuid, clock, persistence, own.pid, own.create_time(), psutil.boot_time())
        _write(note, path)
        gpu.set_persistence(True)
        gpu.lock_sm_clock(clock)
    except UnreadableError as error:
        if note is not None:
            _undo(gpu, note, path)
            path.unlink(missing_ok=True)  # without the rights to change it, nothing is to be restored
        raise RefusedError(
            f"GPU {uuid} cannot be tuned: {error}; an administrator would run: sudo nvidia-smi -i {uuid} -pm 1 && "
            f"sudo nvidia-smi -i {uuid} -lgc {clock}"
        ) from error
    try:
        yield
    finally:
        if not _undo(gpu, note, path):
            raise RefusedError(f"GPU {uuid} cannot be restored; an administrator would run: {note.undo}")


def restore(gpu: Gpu, folder: Path | None = None) -> bool:
    """Undo what a killed process left of a GPU; return whether that worked."""
    path = _path(gpu.uuid(), folder)
    note = _read(path)
    return note is not None and not note.holds and _undo(gpu, note, path)


def _undo(gpu: Gpu, note: Note, path: Path) -> bool:
    failures = Reasons()
    failures.attempt("clock", gpu.unlock_sm_clock)
    failures.attempt("persistence", lambda: gpu.set_persistence(note.persistence))
    if not failures.unreadable:
        path.unlink(missing_ok=True)
    return not failures.unreadable


def left_behind(folder: Path | None = None) -> list[str]:
    """Return a sentence for each GPU whose clock a killed process left locked, with the command that restores it."""
    notes = map(_read, sorted((folder or device_lock.shared_folder()).glob("gapbench-tuned-*.json")))
    return [
        f"the SM clock of GPU {note.uuid} is still locked to {note.clock} MHz: gapbench tune (process {note.pid}) was "
        f"killed; restore it with: gapbench tune --restore (or {note.undo})"
        for note in notes
        if note is not None and not note.holds
    ]


def _path(uuid: str, folder: Path | None) -> Path:
    return (folder or device_lock.shared_folder()) / f"gapbench-tuned-{uuid}.json"


def _write(note: Note, path: Path) -> None:
    try:
        durable_io.write(str(path), msgspec.json.encode(note))
    except OSError as error:
        raise GapbenchError(f"cannot write {path}: {error.strerror}; set GAPBENCH_LOCKS to another folder") from error


def _read(path: Path) -> Note | None:
    """Return a note that is this user's or root's, valid, and written since the machine started."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(descriptor).st_uid in (0, os.getuid()):
                note = msgspec.json.decode(file.read(), type=Note)
                return note if abs(note.booted - psutil.boot_time()) < 60 else None
    return None
