"""NVIDIA's GPUs, and AMD's, which torch calls cuda as well: what `torch.accelerator` does not offer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gapbench.devices.accelerator import Accelerator, Graph
from gapbench.telemetry import nvml
from gapbench.telemetry.unreadable import Reasons

INFINITY_CACHE = {"gfx942": 256 * 2**20, "gfx950": 256 * 2**20}
"""Bytes of the cache behind the L2 caches of AMD's MI300 and MI350, which HIP does not tell (source: AMD's CDNA 3 and
CDNA 4 white papers)."""

_CALIBRATION_CYCLES = 1_000_000


@dataclass(frozen=True)
class Cuda(Accelerator):
    """A GPU under CUDA or ROCm: it can spin for a number of cycles, and replay graphs in every torch."""

    def describe(self) -> dict[str, Any]:
        """Return its marketing name as NVML tells it, which initialises nothing; else as `Accelerator` does."""
        with nvml.every_gpu(Reasons()) as gpus:
            names = {gpu.describe(Reasons(), "")["name"] for gpu in gpus}
        # CUDA's order need not be NVML's; where all GPUs are of a kind, it does not matter.
        return {"description": names.pop()} if len(names) == 1 else super().describe()

    @property
    def uuid(self) -> str | None:
        """NVIDIA's UUID of the GPU, by which NVML finds it whatever order CUDA gives it."""
        found = getattr(self.torch.cuda.get_device_properties(self.index), "uuid", None)
        return None if found is None else str(found)

    def delay(self, seconds: float) -> None:
        """Queue a kernel that spins for about that long and touches no memory."""
        self.torch.cuda._sleep(round(seconds * self._cycles_per_second))

    @cached_property
    def _cycles_per_second(self) -> float:
        """Which clock a spin counts, and at which rate it runs, differs between GPUs: only a measurement tells."""
        before, after = self.event(), self.event()
        for _ in range(2):  # the first launch loads the kernel
            before.record()
            self.torch.cuda._sleep(_CALIBRATION_CYCLES)
            after.record()
            seconds = before.seconds_until(after)
        return _CALIBRATION_CYCLES / max(seconds, 1e-6)

    @property
    def has_graphs(self) -> bool:
        """Whether work can be captured and replayed: always."""
        return True

    def capture(self, launch: Callable[[], None]) -> Graph:
        """Return a graph of all that ``launch`` launches; what cannot be captured raises what torch raises."""
        graph: Graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            launch()
        return graph

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache."""
        properties = self.torch.cuda.get_device_properties(self.index)
        architecture = getattr(properties, "gcnArchName", "").partition(":")[0]
        return INFINITY_CACHE.get(architecture) or getattr(properties, "L2_cache_size", None) or None
