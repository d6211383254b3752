"""A whole network of the user's, with its own pooling or a patch's: what a replacement saves end to end.

Its first output of floats is judged, against the network in float64, or in float32 for half precision.
"""

import contextlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from msgspec import Struct, structs
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from gapbench.errors import GapbenchError
from gapbench.implementations import Implementation
from gapbench.operations.base import Operation
from gapbench.workloads.cases import DTYPES, Case
from gapbench.workloads.suites import import_file
from gapbench.workloads.truth import Differentiated

_FORMATS = {
    "channels_last": {4: torch.channels_last, 5: torch.channels_last_3d},
    "contiguous": dict.fromkeys((4, 5), torch.contiguous_format),
}


@dataclass(frozen=True, slots=True)
class Network:
    """A module with the inputs of one pass; ``name`` is what messages call it."""

    name: str
    module: nn.Module
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def load(target: str, shapes: Sequence[tuple[int, ...]], dtype: str | None, layout: str | None) -> Network:
    """Return the network of ``FILE.py:CALLABLE`` or ``package.module:CALLABLE`` with its inputs; runs its code.

    ``shapes`` of random inputs replace its own; ``dtype`` and ``layout`` convert both. Raises `GapbenchError`.
    """
    file, _, name = target.rpartition(":")
    if not file or not name:
        raise GapbenchError(f"malformed target {target!r}: write FILE.py:CALLABLE or package.module:CALLABLE")
    with blamed(f"{target} gives no network"):
        path = Path(file) if file.endswith(".py") else None
        sys.path.insert(0, str(path.resolve().parent if path else Path.cwd()))
        made: Any = import_file(f"gapbench_network_{path.stem}", path) if path else importlib.import_module(file)
        for part in name.split("."):
            made = getattr(made, part)
        torch.manual_seed(0)  # every process makes the same weights
        made = made if isinstance(made, (nn.Module, ExportedProgram)) else made()
        module, own = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        module = unwrapped(module)
    if not isinstance(module, nn.Module):
        raise GapbenchError(f"{target} returns {type(made).__name__}; return an nn.Module, or a module and its inputs")

    def converted(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return x
        order = _FORMATS.get(layout or "", {}).get(x.dim(), torch.preserve_format)
        return x.to(getattr(torch, dtype) if dtype else x.dtype, memory_format=order)

    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = converted(tensor.data)
    like = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))
    torch.manual_seed(0)
    own = [torch.randn(shape).to(like.device, like.dtype) for shape in shapes] or own
    if own is None:
        raise GapbenchError(f"{target} returns no inputs; give their shapes, as in --input 8x3x224x224")
    own = tree_map(converted, own)
    if isinstance(own, Mapping):
        return Network(target, module, kwargs=own)
    return Network(target, module, own if isinstance(own, (tuple, list)) else [own])


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """Raise `GapbenchError` for what the user's code raises; keep what it prints off stdout, which carries data."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        reason = (str(error).strip() or "no message").splitlines()[0]
        if "torchvision::nms does not exist" in "".join(traceback.format_exception(error)):
            reason = "torchvision was built for another torch; install one that fits, or uninstall it"
        raise GapbenchError(f"{what}: {type(error).__name__}: {reason}") from error


def unwrapped(module: Any) -> Any:
    """Return the module inside exported programs, compiled modules and wrappers for several devices."""
    if isinstance(module, ExportedProgram):
        return module.module()
    wrapped = isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel))
    inner = module.module if wrapped else getattr(module, "_orig_mod", None)
    return module if inner is None else unwrapped(inner)


class Variant(Struct, frozen=True):
    """A network as an implementation: its arguments of `load`, and how it runs; as the spec of a plan it is JSON.

    ``case_id`` is its input's case, ``output`` the judged shape, ``patch`` a file that can ``apply(model)``.
    """

    target: str
    case_id: str
    shapes: tuple[tuple[int, ...], ...] = ()
    dtype: str | None = None
    layout: str | None = None
    output: tuple[int, ...] = ()
    patch: str | None = None
    compiled: bool = False

    @property
    def case(self) -> Case:
        """The case of a forward pass."""
        return Case.from_id(self.case_id)

    @property
    def short(self) -> str:
        """The last part of the target, which names the network."""
        return self.target.rpartition(":")[2].rpartition(".")[2]

    @property
    def name(self) -> str:
        """The implementation's name."""
        return ("compiled_" if self.compiled else "") + ("patched" if self.patch else "original")

    @property
    def spec(self) -> str:
        """The spec from which `implementation` makes it in a worker."""
        return msgspec.json.encode(self).decode()

    def load(self) -> Network:
        """Load the network, and patch it. Raises `GapbenchError`."""
        network = load(self.target, self.shapes, self.dtype, self.layout)
        if self.patch:
            import_file("gapbench_patch", Path(self.patch)).apply(network.module)
        return network


class WithInput(nn.Module):
    """A network as a function of its first float input of 3 to 5 dimensions. Raises `GapbenchError` if it has none."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.module
        self._leaves, self._spec = tree_flatten((tuple(network.args), dict(network.kwargs)))
        fits = (at for at, leaf in enumerate(self._leaves) if _is_float(leaf) and 3 <= leaf.dim() <= 5)
        self._at = next(fits, -1)
        if self._at < 0:
            raise GapbenchError(
                f"{network.name} has no input of 3 to 5 dimensions with floats; measure its list with gapbench run"
            )

    @property
    def x(self) -> Tensor:
        """The network's own input."""
        own: Tensor = self._leaves[self._at]
        return own

    def forward(self, x: Tensor) -> Tensor:
        """Return the first output that is a tensor of floats."""
        leaves = [*self._leaves[: self._at], x, *self._leaves[self._at + 1 :]]
        args, kwargs = tree_unflatten(leaves, self._spec)
        outputs = tree_leaves(self.network(*args, **kwargs))
        judged: Tensor = next(output for output in outputs if _is_float(output))
        return judged

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "WithInput":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._leaves = [fn(leaf) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        return self

    def train(self, mode: bool = True) -> "WithInput":
        """Set the mode of all modules, but leave dropout off: it is random, so that outputs could not be compared."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        return self


def _is_float(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and str(leaf.dtype).removeprefix("torch.") in DTYPES


def _captured() -> str | None:
    from torch._dynamo.utils import counters

    return None if counters["stats"]["unique_graphs"] else "torch.compile captured no graph: the network ran eagerly"


def implementation(spec: str) -> Implementation:
    """Return a `Variant` as an implementation. Only workers load the network, which runs the user's code."""
    variant = msgspec.json.decode(spec, type=Variant)

    def prepare(case: Case) -> nn.Module:
        module = WithInput(variant.load()).to(case.device).train(case.pass_ == "training")
        if not variant.compiled:
            return module
        from torch._dynamo.utils import counters

        counters.clear()
        return cast("nn.Module", torch.compile(module, dynamic=False))

    what = f"{variant.target}, {'pooling as ' + variant.patch if variant.patch else 'as it is'}"
    family, proof = ("compiled", _captured) if variant.compiled else ("network", lambda: None)
    return Implementation(variant.name, family, what, f"{variant.target}(x)", prepare, proof=proof, truth=truth(spec))


def truth(spec: str) -> Differentiated:
    """Return the expected output of a `Variant`: the network as it is, in float64, for half precision in float32."""
    return _truth(structs.replace(msgspec.json.decode(spec, type=Variant), patch=None, compiled=False))


@cache
def _truth(variant: Variant) -> Differentiated:
    def made(case: Case) -> WithInput:
        torch.set_num_threads(case.threads)
        return WithInput(variant.load()).to("cpu").train(case.pass_ == "training")

    @cache  # a round has several questions
    def exactly(case: Case) -> Callable[[Tensor], Tensor]:
        # float32's error is small beside that of half precision, and float64 would take most of a run's time
        dtype = torch.float32 if DTYPES[case.dtype] == 2 else torch.float64
        module = made(case).to(dtype).requires_grad_(False)
        return lambda x: module(x.to(dtype)).double()

    @cache
    def own(case: Case) -> Callable[[Tensor], Tensor]:
        return made(case).requires_grad_(False)

    return Differentiated(exactly, lambda _case: variant.output, lambda _case: 1, own=own)


NETWORK = Operation("network", "a whole network, with its own pooling and with other", "original", ())
