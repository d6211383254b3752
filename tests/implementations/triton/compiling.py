"""What the tests run in a process where Triton compiles kernels, for GPUs that are not there."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from unittest import mock

import torch
import triton
from strategies import upstream
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from gapbench.implementations.triton import op
from gapbench.implementations.triton.plans import Plan
from gapbench.operations import builtin
from gapbench.profiling import static
from gapbench.profiling.static import architecture
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case

torch.set_num_threads(1)

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


@dataclass(frozen=True)
class Compiled:
    """What a launch would have run: its name, Triton's IR and the backend's assembly (PTX, or AMD's)."""

    kernel: str
    ir: str
    assembly: str


@contextmanager
def absent_gpu(target: str) -> Iterator[None]:
    """Make Triton believe in a GPU that is not there."""
    driver = SimpleNamespace(
        get_current_target=lambda: TARGETS[target],
        get_current_device=lambda: target,
        get_current_stream=lambda _device: 0,
    )
    triton.runtime.driver.set_active(driver)
    yield


def compile_for(target: str, x: Tensor, plan: Plan, backward_plan: Plan) -> list[Compiled]:
    """Launch GAP of x and its gradient on a GPU that is not there, up to the driver's calls."""
    launched, run = [], JITFunction.run

    def compile_only(kernel, *args, warmup, **kwargs):
        asm = run(kernel, *args, warmup=True, **kwargs).asm
        launched.append(Compiled(kernel.__name__, asm["ttir"], asm["amdgcn"] if "amdgcn" in asm else asm["ptx"]))

    with absent_gpu(target), mock.patch.object(JITFunction, "run", compile_only):
        x = x.detach().requires_grad_()
        y = op.gap(x, str(plan), str(backward_plan))
        torch.autograd.grad(y, x, torch.ones_like(y))
    return launched


def beside_swapped(case: Case, plan: Plan, _backward_plan: Plan) -> tuple[list[str], list[str]]:
    """Return the instructions of the plan's kernel and of the same with its axes swapped, for an H100."""
    import swapped

    x = inputs.sample(case, 0).flatten(2)
    (launch,) = op.forward_launches(plan, x, x.new_empty(x.shape[:2]))
    pair = launch, replace(launch, kernel=swapped.tile_kernel)
    listings = [static.compile_launch(one, architecture("sm_90")).asm["sass"].splitlines() for one in pair]
    ours, theirs = ([line.strip() for line in listing if line.rstrip().endswith(";")] for listing in listings)
    return ours, theirs


@contextmanager
def interpreted_launches() -> Iterator[None]:
    """Interpret what PyTorch launches, so that all of PyTorch above the launch is the real thing."""

    def run(kernel, *args, grid, warmup, **kwargs):
        InterpretedFunction(kernel.fn)[grid](*args, **kwargs)

    def call(kernel, *args, **kwargs):  # a device function
        scope = interpreter._patch_lang(kernel.fn)
        try:
            return InterpretedFunction(kernel.fn).rewrite()(*args, **kwargs)
        finally:
            scope.restore()

    with ExitStack() as stack:
        stack.enter_context(absent_gpu("sm_90"))
        stack.enter_context(mock.patch.object(JITFunction, "run", run))
        stack.enter_context(mock.patch.object(JITFunction, "__call__", call))
        yield


def check_operators(case: Case, plan: Plan, backward_plan: Plan) -> dict[str, str]:
    """Return the outcome of `torch.library.opcheck`, forward and backward."""
    x = inputs.sample(case, 0).requires_grad_()
    gradient = upstream(case, 0)
    with interpreted_launches():
        forward = torch.library.opcheck(torch.ops.gapbench.gap.default, (x, str(plan), str(backward_plan)))
        arguments = gradient, list(case.shape), op.storage_order(x), str(backward_plan)
        backward = torch.library.opcheck(torch.ops.gapbench.gap_backward.default, arguments)
    return {
        f"{which} {test}": got for which in ("f", "b") for test, got in {"f": forward, "b": backward}[which].items()
    }


def compile_prepared(name: str, case: Case) -> tuple[Tensor, Tensor]:
    """Return GAP of one input by an implementation's function through torch.compile, and what it should be."""
    function, x = builtin(name).prepare(case), inputs.sample(case, 0)
    torch._dynamo.reset()
    with interpreted_launches():
        return torch.compile(function, fullgraph=True, backend="aot_eager")(x), x.mean(case.spatial_dims, keepdim=True)


@dataclass(frozen=True)
class Traced:
    """A compiled step beside the eager one, and the kernels in its graphs."""

    y: Tensor
    gradient: Tensor
    expected_y: Tensor
    expected_gradient: Tensor
    nodes: list[str]


def compile_step(case: Case, plan: Plan, backward_plan: Plan, dynamic: bool) -> Traced:
    """Run 3·sin(GAP(2·x)) and its gradient through torch.compile with a full graph, up to the launches."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    nodes: list[str] = []

    def record(graph, _inputs):
        for node in graph.graph.nodes:
            if "triton_kernel_wrapper" in str(node.target):
                kernel = kernel_side_table.get_kernel(node.kwargs["kernel_idx"])  # with num_warps, in an Autotuner
                nodes.append(getattr(kernel, "fn", kernel).__name__)
        return make_boxed_func(graph.forward)

    texts = str(plan), str(backward_plan)

    def step(x):
        return 3 * op.gap(2 * x, *texts).sin()

    x = inputs.sample(case, 0).requires_grad_()
    torch._dynamo.reset()
    with interpreted_launches():
        backend = aot_autograd(fw_compiler=record, bw_compiler=record)
        compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend=backend)
        y = compiled(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
    expected = 3 * (2 * x).mean(case.spatial_dims, keepdim=True).sin()
    (expected_gradient,) = torch.autograd.grad(expected.sum(), x)
    return Traced(y.detach(), gradient, expected.detach(), expected_gradient, nodes)
