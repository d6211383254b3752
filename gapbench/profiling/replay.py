"""One warm call of an implementation, marked for profilers that wrap a whole process (Nsight Compute)."""

import torch

from gapbench import inputs, operations
from gapbench.cases import Case
from gapbench.devices import device
from gapbench.measuring import prepared
from gapbench.passes import bind

RANGE = "gapbench"


def replay(case_id: str, spec: str) -> None:
    """Make the call twice, the second time inside an NVTX range called `RANGE`."""
    case = Case.from_id(case_id)
    prepared.make_ready(case)
    implementation = operations.load(spec)
    function = implementation.prepare(case)
    call = bind(case, function, inputs.sample(case, 0), inputs.upstream(case, 0, implementation.truth.shape(case)))
    call()
    where = device(case.device)
    where.synchronize()
    torch.cuda.nvtx.range_push(RANGE)  # type: ignore[no-untyped-call]
    call()
    where.synchronize()
    torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]
