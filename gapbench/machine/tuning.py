"""A GPU with a fixed clock: persistence on, SM clock locked, and both put back however the work ends.

A note of what was changed lies beside the locks (`device_lock`) while it holds. Where its process was killed, the note
is left: `left_behind` finds it, and `restore` puts the GPU back. Clock locks and persistence mode belong to the driver
and end when the machine restarts (NVML API reference, "Device Commands"), so notes from before a restart are void.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import device_lock
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.nvml import Gpu
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

_PREFIX = "gapbench-tuned-"
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Note:
    """What was changed on a GPU: ``persistence`` is the mode to put back, ``clock`` the SM clock locked, in MHz.

    ``pid`` and ``started`` name the process that changed it, ``booted`` the start of the machine (seconds since 1970).
    """

    uuid: str
    clock: int
    persistence: bool
    pid: int
    started: float
    booted: float

    @property
    def holds(self) -> bool:
        """Whether the process that changed the GPU still runs, and will put it back."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1
        except psutil.Error:
            return False


@contextmanager
def gpus(chosen: str | None = None) -> Iterator[list[Gpu]]:
    """Hold NVML open and give the GPU that ``chosen`` names, by UUID or ``nvidia-smi``'s index; None gives all.

    Raises `GapbenchError` where there is none of that name, or none at all.
    """
    reasons = Reasons()
    with nvml.every_gpu(reasons) as every:
        uuids = [gpu.uuid() for gpu in every]
        if not every:
            raise GapbenchError(
                f"no NVIDIA GPU can be tuned: {'; '.join(reasons.unreadable.values()) or 'none is listed'}"
            )
        if chosen is None:
            yield every
            return
        named = [gpu for index, gpu in enumerate(every) if chosen in (str(index), uuids[index])]
        if not named:
            listed = ", ".join(f"{index} ({uuid})" for index, uuid in enumerate(uuids))
            raise GapbenchError(f"there is no GPU {chosen!r}; there are: {listed}")
        yield named


def sustained_clock(gpu: Gpu, seconds: float, is_loaded: Callable[[], bool]) -> int:
    """Return the highest SM clock in MHz that the GPU offers and holds while it is loaded.

    It is the lowest that was read in the last half of ``seconds``, when power and temperature limit it, rounded down to
    one that the driver supports. Raises `GapbenchError` if ``is_loaded`` turns false before.
    """
    clocks: list[tuple[float, float]] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if not is_loaded():
            raise GapbenchError("the load for finding the clock ended early; name a clock with --sm-clock")
        clocks.append((passed, gpu.sm_clock_mhz()))
        time.sleep(_SAMPLE_SECONDS)
    held = min(clock for passed, clock in clocks if passed >= seconds / 2)
    supported = gpu.supported_sm_clocks()
    return max([clock for clock in supported if clock <= held], default=min(supported))


@contextmanager
def tuned(gpu: Gpu, clock: int, folder: Path | None = None) -> Iterator[None]:
    """Switch persistence on and lock the SM clock to ``clock`` MHz; put both back on the way out.

    Raises `RefusedError` where another process has tuned the GPU, or this one may not.
    """
    uuid = gpu.uuid()
    earlier = _read(_path(uuid, folder))
    if earlier is not None and earlier.holds:
        raise RefusedError(f"GPU {uuid} is tuned by process {earlier.pid} already; run again when that has ended")
    try:
        before = gpu.persistence() if earlier is None else earlier.persistence
    except UnreadableError as error:
        raise RefusedError(f"GPU {uuid} cannot be tuned: {error}") from error
    own = psutil.Process()
    note = Note(uuid, clock, before, own.pid, own.create_time(), psutil.boot_time())
    _write(note, folder)
    try:
        gpu.set_persistence(True)
        gpu.lock_sm_clock(clock)
    except UnreadableError as error:
        _put_back(gpu, note, folder)
        _path(uuid, folder).unlink(missing_ok=True)  # without the rights to change it, nothing is to be put back
        raise RefusedError(
            f"GPU {uuid} cannot be tuned: {error}; an administrator would run: sudo nvidia-smi -i {uuid} -pm 1 && "
            f"sudo nvidia-smi -i {uuid} -lgc {clock}"
        ) from error
    try:
        yield
    finally:
        if not _put_back(gpu, note, folder):
            raise RefusedError(f"GPU {uuid} cannot be put back; an administrator would run: {_by_hand(note)}")


def _put_back(gpu: Gpu, note: Note, folder: Path | None) -> bool:
    """Undo what the note says; return whether that worked. The note stays where it did not."""
    failures = Reasons()
    failures.attempt("clock", gpu.unlock_sm_clock)
    failures.attempt("persistence", lambda: gpu.set_persistence(note.persistence))
    if not failures.unreadable:
        _path(note.uuid, folder).unlink(missing_ok=True)
    return not failures.unreadable


def restore(gpu: Gpu, folder: Path | None = None) -> bool:
    """Put back what a killed process left; return whether there was anything. Raises `RefusedError` without rights."""
    note = _read(_path(gpu.uuid(), folder))
    if note is None or note.holds:
        return False
    if not _put_back(gpu, note, folder):
        raise RefusedError(f"GPU {note.uuid} cannot be put back; an administrator would run: {_by_hand(note)}")
    return True


def left_behind(folder: Path | None = None) -> list[str]:
    """Return a sentence for each GPU whose clock a killed process left locked, with the command that restores it."""
    notes = (_read(path) for path in sorted(_folder(folder).glob(f"{_PREFIX}*.json")))
    return [
        f"the SM clock of GPU {note.uuid} is still locked to {note.clock} MHz: gapbench tune (process {note.pid}) was "
        f"killed; restore it with: gapbench tune --restore (or {_by_hand(note)})"
        for note in notes
        if note is not None and not note.holds
    ]


def _by_hand(note: Note) -> str:
    return f"sudo nvidia-smi -i {note.uuid} -rgc && sudo nvidia-smi -i {note.uuid} -pm {int(note.persistence)}"


def _folder(folder: Path | None) -> Path:
    return folder or device_lock.shared_folder()


def _path(uuid: str, folder: Path | None) -> Path:
    return _folder(folder) / f"{_PREFIX}{uuid}.json"


def _write(note: Note, folder: Path | None) -> None:
    """Write the note where `left_behind` looks, whole or not at all."""
    path = _path(note.uuid, folder)
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w") as file:
            json.dump(asdict(note), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise GapbenchError(
            f"cannot note in {path} what is changed: {error.strerror}; set GAPBENCH_LOCKS to a folder that can be "
            "written to"
        ) from error


def _read(path: Path) -> Note | None:
    """Return the note in a file of this user or root; None for any other, and for one from before a restart."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor) as file:
            if os.fstat(descriptor).st_uid not in (0, os.getuid()):
                return None
            note = Note(**json.load(file))
        return note if abs(note.booted - psutil.boot_time()) < 60 else None
    return None
