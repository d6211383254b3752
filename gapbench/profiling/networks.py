"""Find the calls of a network that average over all spatial positions, as ATen sees them, however they are spelt.

A call is a chain of sums, means, windows, views, and products with a number, which together make the average. Tensors
of three dimensions are tokens (N, T, C), unless a convolution, a batch norm or a flattened image made them (N, C, L).
"""

import contextlib
import math
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Interpreter
from torch.fx.traceback import get_current_meta, preserve_node_meta
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from gapbench.operations.network import Network, blamed
from gapbench.store.run import Warning
from gapbench.workloads import inputs
from gapbench.workloads.case_lists import ListedCase, Site
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case

_PASSES, _SECONDS = 15, 15.0  # most passes of a kind, and the time after which no further one begins
_ATEN = torch.ops.aten
_MEANS = {_ATEN._adaptive_avg_pool2d: 2, _ATEN._adaptive_avg_pool3d: 3, _ATEN.avg_pool2d: 2, _ATEN.avg_pool3d: 3}
_SCALES = {_ATEN.div: -1, _ATEN.div_: -1, _ATEN.mul: 1, _ATEN.mul_: 1}
_CHANNELS_SECOND = (_ATEN.convolution, _ATEN.native_batch_norm, _ATEN.cudnn_batch_norm)
_TOKENS = (_ATEN.transpose, _ATEN.permute, _ATEN.native_layer_norm, _ATEN.embedding, _ATEN.bmm)
_LIBRARIES = {"torch", "einops", "gapbench"}  # whose frames are not the user's
_SAME = 1e-6  # relative difference up to which a factor is 1 / window; the unbiased 1 / (window - 1) differs by more


@dataclass(frozen=True, slots=True)
class Recorded:
    """The pooling calls of a pass as weighted cases, the largest share first, and the pass's median seconds."""

    cases: Sequence[ListedCase]
    seconds: float
    warnings: Sequence[Warning]

    @property
    def share(self) -> float:
        """The share of all calls in the time, 0 to 1."""
        return sum(case.share or 0.0 for case in self.cases)


def record(network: Network, step: bool = False) -> Recorded:
    """Record a forward pass, or a training ``step`` with gradients of all outputs' sum. Raises `GapbenchError`."""
    module, args, kwargs = network.module, network.args, network.kwargs
    tensors = [each for each in (*module.parameters(), *tree_leaves((args, kwargs))) if isinstance(each, Tensor)]
    is_elsewhere = any(each.device.type != "cpu" for each in tensors)
    synchronize: Callable[[], None] = torch.accelerator.synchronize if is_elsewhere else lambda: None

    def run(call: Callable[..., Any] = module) -> float:
        synchronize()
        start = time.perf_counter()
        with torch.set_grad_enabled(step):
            leaves = tree_leaves(call(*args, **kwargs))
        if step:
            sums = [x.sum() for x in leaves if isinstance(x, Tensor) and x.requires_grad]
            if not sums:
                raise RuntimeError("no output depends on a weight")
            torch.autograd.backward(sums)
            module.zero_grad(set_to_none=True)
        synchronize()
        return time.perf_counter() - start

    plain: list[float] = []
    recorders: list[_Recorder] = []
    what = f"the {'training step' if step else 'forward pass'} of {network.name} fails"
    with blamed(what), torch.compiler.set_stance("force_eager"):
        with contextlib.suppress(NotImplementedError):  # of exported programs, whose mode is fixed
            module.train(step)
        end = time.perf_counter() + run() + _SECONDS
        while len(plain) < _PASSES and (not plain or time.perf_counter() < end):
            plain.append(run())
            recorders.append(_Recorder(module, synchronize))
            with recorders[-1].watching():  # node by node, since generated code has no lines of the user's
                run(Interpreter(module).run if isinstance(module, GraphModule) and not kwargs else module)
    first, seconds, cases = recorders[0], statistics.median(plain), []
    for case in dict.fromkeys(call.case for call in first.calls):
        spent = [sum(call.seconds for call in each.calls if call.case == case) for each in recorders]
        sites = Counter(call.site for call in first.calls if call.case == case)
        places = tuple(structs.replace(site, count=count) for site, count in sites.items())
        share, shape = statistics.median(spent) / seconds, "x".join(map(str, case.shape))
        cases.append(ListedCase(shape, case.dtype, case.layout, case.pass_, sites.total(), share, places))
    return Recorded(sorted(cases, key=lambda case: -(case.share or 0.0)), seconds, tuple(dict.fromkeys(first.warnings)))


@dataclass(eq=False)
class _Chain:
    """A tensor that is ``factor`` times the sum of another over its dimensions ``gone``; a call once it is an average.

    ``left`` has for each dimension of the tensor that of the other, -1 for one of size 1; it is None after a view.
    ``seconds`` are those of the operators, and of those of their gradients.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    channels_second: bool
    left: tuple[int, ...] | None
    gone: frozenset[int] = frozenset()
    factor: float = 1.0
    source: str | None = None
    spelling: tuple[str, ...] = ()
    seconds: float = 0.0
    nodes: tuple[int, ...] = ()
    case: Case = field(init=False)
    site: Site = field(init=False)


class _Recorder(TorchDispatchMode):
    """Records the pooling calls in the forward passes of ``network``; gradients of theirs are timed as well."""

    def __init__(self, network: nn.Module, synchronize: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Chain] = []
        self.warnings: list[Warning] = []
        self._synchronize = synchronize
        self._paths: dict[int, list[str]] = {}
        for path, module in network.named_modules(remove_duplicate=False):
            self._paths.setdefault(id(module), []).append(path)
        self._stack = [""]
        self._nodes: dict[int, _Chain] = {}  # by the sequence number that autograd gives a forward operator
        self._chains = WeakIdKeyDictionary()  # by the tensor
        self._channels_second = WeakIdKeyDictionary()  # the tensors of three dimensions that are known to be (N, C, L)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch modules and operators."""
        leave = modules.register_module_forward_hook(lambda *_: self._stack.__delitem__(-1), always_call=True)
        with modules.register_module_forward_pre_hook(self._enter_module), leave, preserve_node_meta(), self:
            yield

    def _enter_module(self, module: nn.Module, _args: Any) -> None:
        paths = self._paths.get(id(module), self._stack[-1:])
        # a shared module has several paths; take the one below the module that calls it
        self._stack.append(next((path for path in paths if path.startswith(f"{self._stack[-1]}.")), paths[0]))

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator; time it if it belongs to a call or to its gradient."""
        if torch.is_inference_mode_enabled() and func._can_decompose():
            with self:  # in that mode operators arrive before they are taken apart
                return func.decompose(*args, **(kwargs or {}))
        node, chain = torch._C._current_autograd_node(), None
        is_gradient = node is not None and len(self._stack) == 1  # else a checkpoint calls modules again
        if is_gradient:
            chain = self._nodes.get(node._sequence_nr())
        elif args and isinstance(args[0], Tensor):
            names = (each.name for each in func._schema.arguments)
            chain = self._extended(func, args[0], dict(zip(names, args, strict=False)) | dict(kwargs or {}))
        if chain is None:
            out = func(*args, **(kwargs or {}))
        else:
            self._synchronize()
            start = time.perf_counter()
            out = func(*args, **(kwargs or {}))
            self._synchronize()
            chain.seconds += time.perf_counter() - start
        if not is_gradient:
            self._learn(func, args, out[0] if isinstance(out, (tuple, list)) and out else out)
            if chain is not None:
                self._add(chain, args[0], out)
        return out

    def _extended(self, func: OpOverload, x: Tensor, given: Mapping[str, Any]) -> _Chain | None:
        """Return what the chain of ``x``, a new one if it has none, becomes by an operator; None if that ends it."""
        packet, name = func.overloadpacket, func.overloadpacket.__name__.strip("_")
        chain: _Chain | None = self._chains.get(x)
        dims, factor, keep = _reduction(func, x, given)
        if (dims and (chain is None or chain.left is None)) or (packet is _ATEN.unsqueeze and chain is None):
            dtype, second = str(x.dtype).removeprefix("torch."), x in self._channels_second
            chain = _Chain(tuple(x.shape), x.stride(), dtype, second, tuple(range(x.dim())))
        if chain is None:
            return None
        if packet is _ATEN.unsqueeze and not chain.gone and chain.left is not None:
            at = given["dim"] % (x.dim() + 1)
            return replace(chain, left=(*chain.left[:at], -1, *chain.left[at:]))
        if dims and chain.left is not None:
            source, function = _user()
            is_1d = not chain.gone and any(chain.left[dim] < 0 for dim in dims)  # pooling in 1-D is that in 2-D
            if is_1d:
                function = f"{name.replace('2d', '').replace('mean', 'adaptive_avg_pool')}1d"
            return replace(
                chain,
                channels_second=chain.channels_second or is_1d,
                left=tuple(-1 if dim in dims else old for dim, old in enumerate(chain.left) if keep or dim not in dims),
                gone=chain.gone | {chain.left[dim] for dim in dims if chain.left[dim] >= 0},
                factor=chain.factor * factor,
                source=chain.source or source,
                spelling=(*chain.spelling, function or name),
            )
        number = given.get("other") if packet in _SCALES and not given.get("rounding_mode") else None
        if isinstance(number, Tensor) and number.dim() == 0 and number.device.type == "cpu":
            number = number.item()
        if isinstance(number, (int, float)) and number:
            return replace(chain, factor=chain.factor * number ** _SCALES[packet], spelling=(*chain.spelling, name))
        if func._schema.is_mutable:
            del self._chains[x]
        return replace(chain, left=None) if func.is_view or packet in (_ATEN._to_copy, _ATEN.clone) else None

    def _add(self, chain: _Chain, x: Tensor, out: Tensor) -> None:
        """Keep the chain of ``out``, or record a call if it has become the average over all spatial positions."""
        if torch.is_grad_enabled() and x.requires_grad:
            chain.nodes += (torch._C._autograd._get_sequence_nr() - 1,)
        order, window = _order(chain), math.prod(chain.shape[dim] for dim in chain.gone)
        if order is None or chain.dtype not in DTYPES or abs(chain.factor * window - 1) > _SAME:
            self._chains[out] = chain
            return
        self._chains.pop(out, None)
        shape, strides = (tuple(each[dim] for dim in order) for each in (chain.shape, chain.strides))
        nearest, is_exact = layout(shape, strides)
        chain.case = case = Case(shape, chain.dtype, nearest, pass_="training" if chain.nodes else "forward")
        of_export = [*(get_current_meta().get("nn_module_stack") or {}).values()]
        path = re.sub(r"\b_orig_mod\.?", "", of_export[-1][0] if of_export else self._stack[-1]).strip(".")
        if not is_exact:
            evidence = f"{path or 'the network'} at {chain.source}: strides {strides} of {case.id} are of no layout"
            self.warnings.append(
                Warning("layout", evidence, f"expect other times than those of {nearest}, the nearest")
            )
        chain.site = Site(path, chain.source, ", ".join(chain.spelling))
        self.calls.append(chain)
        self._nodes |= dict.fromkeys(chain.nodes, chain)

    def _learn(self, func: OpOverload, args: Sequence[Any], out: Any) -> None:
        """Note whether the channels come second in an output of three dimensions, as far as its operator tells."""
        if not isinstance(out, Tensor) or out.dim() != 3 or func.overloadpacket in _TOKENS:
            return
        tensors = [each for each in tree_leaves(args) if isinstance(each, Tensor)]
        x = tensors[0] if tensors else out
        is_flattened = func.is_view and x.dim() > 3 and x.shape[:2] == out.shape[:2]
        inherited = any(each in self._channels_second for each in tensors)
        if is_flattened or inherited or func.overloadpacket in _CHANNELS_SECOND:
            self._channels_second[out] = True


def _reduction(func: OpOverload, x: Tensor, given: Mapping[str, Any]) -> tuple[set[int], float, bool]:
    """Return the dimensions that an operator sums, if any, the factor of that sum, and whether they keep a size 1."""
    packet, rank = func.overloadpacket, x.dim()
    keep, divisor = True, given.get("divisor_override")
    dims: set[int] = set()
    if packet in (_ATEN.mean, _ATEN.sum) and func._overloadname in ("dim", "dim_IntList") and rank:
        dims = {dim % rank for dim in given["dim"] or range(rank)}
        keep, divisor = bool(given.get("keepdim")), 1 if packet is _ATEN.sum else None
    elif packet in _MEANS and {*given.get("output_size", [1])} == {1}:
        spatial = list(x.shape[-_MEANS[packet] :])
        kernel = given.get("kernel_size", spatial)
        is_full = kernel * (len(spatial) // len(kernel)) == spatial and not any(given.get("padding") or ())
        dims = set(range(rank - len(spatial), rank)) if is_full else dims
    window = math.prod(x.shape[dim] for dim in dims)
    return (dims, 1 / (divisor or window), keep) if window else (set(), 1.0, keep)


def _order(chain: _Chain) -> tuple[int, ...] | None:
    """Return the dimensions of what a chain averages as (N, C, *spatial); None if it averages others."""
    rank = len(chain.shape)
    if 3 <= rank <= 5 and chain.gone == {*range(2, rank)} and (rank > 3 or chain.channels_second):
        return tuple(range(rank))
    if 3 <= rank <= 5 and chain.gone == {*range(1, rank - 1)} and not chain.channels_second:
        return (0, rank - 1, *range(1, rank - 1))
    return None


def layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[str, bool]:
    """Return the layout that has these strides, else the nearest, and whether it has them."""
    telling, near = [dim for dim, size in enumerate(shape) if size > 1], "contiguous"
    for name in LAYOUTS:
        theirs = inputs.empty(Case(shape, layout=name, device="meta")).stride()
        if all(theirs[dim] == strides[dim] for dim in telling):
            return name, True
        if sorted(telling, key=lambda dim: -theirs[dim]) == sorted(telling, key=lambda dim: -strides[dim]):
            near = name
    return near, False


def _user() -> tuple[str | None, str | None]:
    """Return the user's line that runs, as ``FILE:LINE``, and the function of torch.nn.functional that it calls."""
    function, frame = None, sys._getframe().f_back
    lines = re.findall(r'File "(.+?)", line (\d+)', get_current_meta().get("stack_trace") or "")  # of an export
    while not lines and frame is not None and frame.f_code is not record.__code__:
        module, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
        if module == "torch.nn.functional":
            function = frame.f_code.co_name
        elif module.partition(".")[0] not in _LIBRARIES and not file.startswith("<"):
            lines.append((file, str(frame.f_lineno)))
        frame = frame.f_back
    file, line = next((line for line in reversed(lines) if "/torch/nn/" not in line[0]), ("", ""))
    folders = [f"{folder}/" for folder in (Path.cwd(), *sys.path)]  # from which it was imported
    prefix = max(filter(file.startswith, folders), key=len, default="")
    return f"{file.removeprefix(prefix)}:{line}" if file else None, function
