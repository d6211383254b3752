"""Which physical device a name stands for, found without initialising it here.

``cuda:0`` is another GPU in a process with another CUDA_VISIBLE_DEVICES, or under another driver's order: the UUID is
what all agree on. The slices of a GPU that MIG divides have UUIDs of their own.
"""

import subprocess
import sys
from pathlib import Path

from gapbench.devices.accelerator import Accelerator
from gapbench.devices.cpu import Cpu
from gapbench.telemetry import nvml
from gapbench.telemetry.unreadable import Reasons

_PACKAGE = Path(__file__).parents[1]
_PATIENCE = 120.0
_ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from gapbench.devices import device
print(device(sys.argv[2]).uuid or "")
"""


def identity(device: Cpu | Accelerator) -> str:
    """Return what is the same for this physical device in every process: its UUID, without the driver's prefix.

    The processors of a machine are one device, ``cpu``. An accelerator whose backend has no UUIDs is known by its name.
    """
    if isinstance(device, Cpu):
        return device.name
    uuid = _of_the_only_gpu() if device.family == "cuda" else None
    return (uuid or _asked(device) or device.name).removeprefix("GPU-").removeprefix("MIG-")


def _of_the_only_gpu() -> str | None:
    """Return the UUID of the machine's GPU, as NVML knows it; None where there are several, or slices."""
    reasons = Reasons()
    with nvml.every_gpu(reasons) as gpus:
        described = [gpu.describe(reasons, "") for gpu in gpus]
    return described[0]["uuid"] if len(described) == 1 and not described[0]["mig"] else None


def _asked(device: Accelerator) -> str | None:
    """Ask a process of its own, which initialises the device and ends."""
    command = [sys.executable, "-P", "-c", _ASK, str(_PACKAGE.parent), device.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):  # it cannot be initialised now: measuring will say why
        return None
    return done.stdout.strip() or None
