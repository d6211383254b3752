"""Implementations to be timed, whose duration is known."""

from typing import Any

from simulated.cache import Buffer
from simulated.device import SimulatedDevice, Stream
from simulated.kernels import Kernel
from simulated.runtime import SimulatedCpu


class Workload:
    """A call of one or more kernels, each of which reads the input."""

    def __init__(
        self,
        device: SimulatedDevice | SimulatedCpu,
        *seconds: float,
        nbytes: int = 0,
        gap: float = 0.0,
        host: float = 0.0,
    ) -> None:
        """Make a call of kernels that take ``seconds`` each; the first reads ``nbytes``, the others follow ``gap``.

        ``host`` is what the call costs its caller beside the launches: 2 µs of C++, 55 µs of a Python library.
        """
        self._device, self._host = device, host
        self.nbytes = nbytes
        first, *others = seconds
        self.kernels = [Kernel(first, reads=(Buffer(nbytes),) if nbytes else ())]
        self.kernels += [Kernel(one, gap=gap) for one in others]

    def truth(self, cold: bool) -> float:
        """Return the seconds from the first kernel's start to the last one's end."""
        return sum(kernel.truth(cold) for kernel in self.kernels)

    def __call__(self) -> str:
        self._device.host.spend(self._host)
        for kernel in self.kernels:
            self._device.launch(kernel)
        return "output"


class Backward(Workload):
    """A call of autograd: it launches on the stream that was current when the forward pass was recorded."""

    def __init__(self, device: SimulatedDevice, *seconds: float, **more: Any) -> None:
        super().__init__(device, *seconds, **more)
        self._recorded_on = device.current

    def __call__(self) -> str:
        for kernel in self.kernels:
            self._device.launch(kernel, self._recorded_on)
        return "output"


class Astray(Workload):
    """A call whose last ``astray`` kernels are launched on another stream, and not waited for."""

    def __init__(self, device: SimulatedDevice, *seconds: float, astray: int = 1) -> None:
        super().__init__(device, *seconds)
        self._astray = astray
        self._side = Stream()
        device.streams.append(self._side)

    def __call__(self) -> str:
        ours = len(self.kernels) - self._astray
        for position, kernel in enumerate(self.kernels):
            self._device.launch(kernel, None if position < ours else self._side)
        return "output"


class Waiting(Workload):
    """A call that waits for its own work, as ``.item()`` does."""

    def __call__(self) -> str:
        output = super().__call__()
        self._device.synchronize()
        return output
