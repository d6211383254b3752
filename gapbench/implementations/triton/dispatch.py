"""The function that serves a case: it picks its plans in its first call, and tells them afterwards."""

import torch
from torch import Tensor

from gapbench.cases import Case
from gapbench.implementations.triton import op, tilings, tuning
from gapbench.implementations.triton.plans import Geometry


class Gap:
    """GAP for the shape, dtype and layout of one case, by one ``kernel`` or by whichever plan is fastest.

    Inputs in other strides are averaged as well, if slower. The first call times the plans of the case's pass, which
    takes about a second; as long as it cannot (inside ``torch.compile`` or the capture of a graph, in Triton's
    interpreter), the plans that arithmetic prefers serve.
    """

    def __init__(self, case: Case, kernel: str | None = None) -> None:
        geometry, chip = Geometry.of(case), tuning.chip(case.device)
        forward = tilings.forward(geometry, chip) if kernel is None else tilings.FORWARD[kernel](geometry, chip)
        backward = tilings.backward(geometry, chip, kernel)
        timed = {"forward": forward, "backward": backward}
        self._geometry = geometry
        self._chosen = {pass_: str(plans[0]) for pass_, plans in timed.items()}
        self._untimed = timed if case.pass_ == "training" else {case.pass_: timed[case.pass_]}
        self._passes = tuple(self._untimed)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the average of x (N, C, *spatial) as (N, C, 1, ..., 1)."""
        if self._untimed and not torch.compiler.is_compiling() and tuning.can_time(x):
            self._tune(x.detach())
        y: Tensor = op.gap(x, self._chosen["forward"], self._chosen["backward"])
        return y

    @property
    def plan(self) -> str:
        """The text of the plan that the case's pass runs, of both in training."""
        return "; ".join(self._chosen[pass_] for pass_ in self._passes)

    def _tune(self, x: Tensor) -> None:
        untimed, self._untimed = self._untimed, {}
        gradient, order = x.new_ones((x.shape[0], x.shape[1], *(1 for _ in x.shape[2:]))), op.storage_order(x)
        milliseconds = {
            "forward": lambda plan: tuning.milliseconds(lambda: op.gap(x, str(plan), self._chosen["backward"])),
            "backward": lambda plan: tuning.milliseconds(lambda: op.gap_backward(gradient, x.shape, order, str(plan))),
        }
        for pass_, candidates in untimed.items():
            memory = tuning.Memory(candidates, x.device, self._geometry, x.dtype)
            self._chosen[pass_] = str(tuning.choose(candidates, milliseconds[pass_], memory))
