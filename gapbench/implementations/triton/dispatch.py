"""The function that serves a case: it picks its plan in its first call, and tells it afterwards."""

import torch
from torch import Tensor

from gapbench.cases import Case
from gapbench.implementations.triton import op, tilings, tuning
from gapbench.implementations.triton.plans import Geometry, Plan


class Gap:
    """GAP for the shape, dtype and layout of one case, by one ``kernel`` or by whichever plan is fastest.

    Inputs in other strides are averaged as well, if slower. The first call times the plans of the case's pass, which
    takes about a second; as long as it cannot (inside ``torch.compile`` or the capture of a graph, in Triton's
    interpreter), the plan that arithmetic prefers serves.
    """

    def __init__(self, case: Case, kernel: str | None = None) -> None:
        geometry, chip = Geometry.of(case), tuning.chip(case.device)
        forward = tilings.forward(geometry, chip) if kernel is None else tilings.FORWARD[kernel](geometry, chip)
        backward = tilings.backward(geometry, chip, kernel)
        self.backward = case.pass_ == "backward"
        self.untimed = tuple(backward if self.backward else forward)
        self.forward_plan, self.backward_plan = str(forward[0]), str(backward[0])
        self._geometry = geometry

    def __call__(self, x: Tensor) -> Tensor:
        """Return the average of x (N, C, *spatial) as (N, C, 1, ..., 1)."""
        if self.untimed and not torch.compiler.is_compiling() and tuning.can_time(x):
            self._tune(x.detach())
        y: Tensor = op.gap(x, self.forward_plan, self.backward_plan)
        return y

    @property
    def plan(self) -> str:
        """The text of the plan that the case's pass runs."""
        return self.backward_plan if self.backward else self.forward_plan

    def _tune(self, x: Tensor) -> None:
        candidates, self.untimed = self.untimed, ()

        def milliseconds(plan: Plan) -> float:
            if not self.backward:
                return tuning.milliseconds(lambda: op.gap(x, str(plan), self.backward_plan))
            gradient = x.new_ones((x.shape[0], x.shape[1], *(1 for _ in x.shape[2:])))
            order = op.storage_order(x)
            return tuning.milliseconds(lambda: op.gap_backward(gradient, x.shape, order, str(plan)))

        memory = tuning.Memory(candidates, x.device, self._geometry, x.dtype)
        chosen = str(tuning.choose(candidates, milliseconds, memory))
        if self.backward:
            self.backward_plan = chosen
        else:
            self.forward_plan = chosen
