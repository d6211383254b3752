"""What the tests run in a process where Triton interprets kernels."""

import mmap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from strategies import upstream
from torch import Tensor
from triton.runtime.interpreter import GridExecutor, InterpretedFunction, InterpreterBuilder

from gapbench.implementations.triton import dispatch, op
from gapbench.implementations.triton.dispatch import Gap
from gapbench.implementations.triton.plans import Plan
from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case

torch.set_num_threads(1)


def judge(case: Case, plan: Plan, backward_plan: Plan, seed: int) -> str | None:
    """Return what the oracle has against the operator with these plans: samples and stress inputs, or None."""
    return oracle.examine(case, lambda x: op.gap(x, str(plan), str(backward_plan)), seed).reason


def average(x: Tensor, plan: Plan, backward_plan: Plan) -> Tensor:
    """Return GAP of x."""
    return op.gap(x, str(plan), str(backward_plan))


def judge_prepared(name: str, case: Case, seed: int = 0) -> tuple[str | None, str | None]:
    """Return what the oracle has against an implementation, by name, and the code path that it tells."""
    implementation = builtin(name)
    function = implementation.prepare(case)
    return oracle.examine(case, function, seed).reason, implementation.code_path(function)


def tune(case: Case, times: list[float]) -> tuple[str, str, int]:
    """Return the plan before and after the first call of the dispatcher, with these times for its plans in turn.

    Then a second function for the same case is called, with no times left; third comes how many plans were timed.
    """
    function, scripted, timed = Gap(case), iter(times), []

    def milliseconds(call):
        call()
        timed.append(call)
        return next(scripted)

    before = function.plan
    x = inputs.sample(case, 0).requires_grad_(case.pass_ == "backward")
    with mock.patch.multiple(dispatch, can_time=lambda _: True, milliseconds=milliseconds):
        function(x)
        again = Gap(case)
        again(x)
    assert again.plan == function.plan
    return before, function.plan, len(timed)


def average_and_gradient(x: Tensor, plan: Plan, backward_plan: Plan) -> tuple[Tensor, Tensor]:
    """Return GAP of x, and the gradient of half its square's sum."""
    x = x.detach().requires_grad_()
    y = average(x, plan, backward_plan)
    return y.detach(), torch.autograd.grad(y, x, y.detach())[0]


@contextmanager
def program_order(seed: int) -> Iterator[None]:
    """Run the programs of every launch in a random order."""
    generator, order = np.random.default_rng(seed), []
    set_dim, set_index = InterpreterBuilder.set_grid_dim, InterpreterBuilder.set_grid_idx

    def shuffle(builder, x, y, z):
        order[:] = generator.permutation(x)
        set_dim(builder, x, y, z)

    def permuted(builder, x, y, z):
        set_index(builder, int(order[x]), y, z)

    with mock.patch.multiple(InterpreterBuilder, set_grid_dim=shuffle, set_grid_idx=permuted):
        yield


def in_many_orders(case: Case, plan: Plan, backward_plan: Plan) -> list[Tensor]:
    """Return GAP of one input, with programs in the usual and in shuffled orders."""
    x = inputs.sample(case, 0)
    results = [average(x, plan, backward_plan)]
    for seed in range(3):
        with program_order(seed):
            results.append(average(x, plan, backward_plan))
    return results


def with_poisoned_memory(case: Case, plan: Plan, backward_plan: Plan) -> list[tuple[Tensor, Tensor]]:
    """Return GAP of two inputs in turn, with NaN in all memory that calls allocate, beside GAP of each alone."""
    xs = [inputs.sample(case, seed) for seed in range(2)]
    alone = [average(x, plan, backward_plan) for x in xs]

    def poisoned(*sizes, **options):
        return torch.full(*sizes, float("nan"), **options)

    pairs = []
    with mock.patch.object(op.torch, "empty", poisoned):
        for number in range(4):
            with program_order(number):
                pairs.append((average(xs[number % 2], plan, backward_plan), alone[number % 2]))
    return pairs


@dataclass(frozen=True)
class Traffic:
    """How often elements were read and written, and the accesses to what is no element of any argument.

    ``reads`` and ``writes`` give, for each argument by name, how many of its elements were read (written) how often.
    """

    reads: dict[str, dict[int, int]]
    writes: dict[str, dict[int, int]]
    strays: int


def addresses(tensor: Tensor) -> np.ndarray:
    """Return the address of every element."""
    offsets = np.zeros((), np.int64)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        offsets = offsets[..., None] + np.arange(size) * stride
    return tensor.data_ptr() + offsets.ravel() * tensor.itemsize


def traffic(case: Case, plan: Plan, backward_plan: Plan) -> list[Traffic]:
    """Run one case and count, launch by launch, what the kernels read and wrote."""
    traffic, run = [], InterpretedFunction.run
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def counted_run(kernel, *args, **kwargs):
        accesses = {"reads": [], "writes": []}

        def counted_load(builder, pointers, mask, *rest):
            accesses["reads"].append(pointers.data[mask.data])
            return load(builder, pointers, mask, *rest)

        def counted_store(builder, pointers, value, mask, *rest):
            accesses["writes"].append(pointers.data[mask.data])
            return store(builder, pointers, value, mask, *rest)

        with mock.patch.multiple(
            InterpreterBuilder, create_masked_load=counted_load, create_masked_store=counted_store
        ):
            run(kernel, *args, **kwargs)
        traffic.append(_tally(accesses, {name: value for name, value in kwargs.items() if isinstance(value, Tensor)}))

    x, gradient = inputs.sample(case, 0).requires_grad_(case.pass_ == "backward"), upstream(case, 0)
    y = None if case.pass_ == "forward" else average(x, plan, backward_plan)
    with mock.patch.object(InterpretedFunction, "run", counted_run):
        if y is None:
            average(x, plan, backward_plan)
        else:
            torch.autograd.grad(y, x, gradient)
    return traffic


def _tally(accesses: dict[str, list[np.ndarray]], tensors: dict[str, Tensor]) -> Traffic:
    elements = {name: addresses(tensor) for name, tensor in tensors.items()}
    tallies, strays = {}, 0
    for kind, chunks in accesses.items():
        counts = Counter(np.concatenate([np.zeros(0, np.uint64), *map(np.ravel, chunks)]).astype(np.int64).tolist())
        tallies[kind] = {}
        for name, places in elements.items():
            tallies[kind][name] = dict(Counter(counts.pop(address, 0) for address in places.tolist()))
        strays += sum(counts.values())
    return Traffic(**tallies, strays=strays)


@contextmanager
def lazily(elements: int) -> Iterator[Tensor]:
    """Yield a zeroed float16 buffer of any size, which takes memory only where it is touched."""
    no_reserve = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python names it since 3.13
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    memory = mmap.mmap(-1, 2 * elements, flags=flags)
    # The interpreter copies arguments back to their device, here onto themselves: every page would be touched.
    with mock.patch.object(GridExecutor, "_restore_args_dev"):
        yield torch.frombuffer(memory, dtype=torch.float16)


def averages_far_apart(plan: Plan, strides: tuple[int, int, int], sizes: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Return GAP of (N, C, window) whose elements are billions apart, and what it should be."""
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    with lazily(last + 1) as buffer:
        x = buffer.as_strided(sizes, strides)
        x.copy_(torch.arange(1, x.numel() + 1).view(sizes))
        y = torch.full(sizes[:2], -1.0)
        for launch in op.forward_launches(plan, x, y):
            launch.kernel[(launch.programs,)](**launch.arguments, **launch.constants)
        return y, x.float().mean(2)


def spreads_far_apart(plan: Plan, strides: tuple[int, int, int], sizes: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Return the gradient that is written to (N, C, window) with elements billions apart, and what it should be."""
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    with lazily(last + 1) as buffer:
        out = buffer.as_strided(sizes, strides)
        gradient = torch.arange(1.0, sizes[0] * sizes[1] + 1).view(sizes[:2])
        for launch in op.backward_launches(plan, gradient, out):
            launch.kernel[(launch.programs,)](**launch.arguments, **launch.constants)
        return out.float(), (gradient / sizes[2])[..., None].expand(sizes)


def last_program(plan: Plan, sizes: tuple[int, int, int], backward: bool) -> tuple[Tensor, Tensor]:
    """Run only the last program on a contiguous (N, C, window) of billions; return what it made of the last row."""
    rows, window = sizes[0] * sizes[1], sizes[2]
    set_dim, set_index = InterpreterBuilder.set_grid_dim, InterpreterBuilder.set_grid_idx
    with lazily(rows * window) as x, lazily(rows) as y:
        x, y = x.view(sizes), y.view(sizes[:2])
        if backward:
            y[-1, -1] = 6
            launches = op.backward_launches(plan, y, x)
        else:
            x[-1, -1] = torch.arange(window)
            launches = op.forward_launches(plan, x, y)
        (launch,) = launches
        with mock.patch.multiple(
            InterpreterBuilder,
            set_grid_dim=lambda builder, *_: set_dim(builder, launch.programs, 1, 1),
            set_grid_idx=lambda builder, *_: set_index(builder, launch.programs - 1, 0, 0),
        ):
            launch.kernel[(1,)](**launch.arguments, **launch.constants)
        if backward:
            return x[-1, -1].float(), torch.full((window,), 6 / window)
        return y[-1, -1].float(), torch.tensor((window - 1) / 2)


def gradient_for(case: Case, upstream: Tensor, plan: Plan, backward_plan: Plan) -> Tensor:
    """Return the gradient of one input of the case for this gradient of its average."""
    x = inputs.sample(case, 0).requires_grad_()
    return torch.autograd.grad(average(x, plan, backward_plan), x, upstream)[0]


def gradient_of(case: Case, plan: Plan, backward_plan: Plan) -> tuple[Tensor, list[int], int]:
    """Return a gradient, the input's dimensions from outermost to innermost, and how many tensors autograd kept."""
    x, kept = inputs.sample(case, 0).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda kept: kept):
        y = average(x, plan, backward_plan)
    (gradient,) = torch.autograd.grad(y, x, upstream(case, 0))
    return gradient, sorted(range(x.ndim), key=x.stride, reverse=True), len(kept)
