"""What Inductor made of a compiled implementation: its source, what it fused, what it left to ATen, how often."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from gapbench.implementations import inductor
from gapbench.measuring import probes


@dataclass(frozen=True, slots=True)
class Generated:
    """What was generated for one compiled function.

    ``sources`` are the wrappers with the kernels in them, by file name. ``kernels`` are the names of kernels, which
    list the operators that are fused in each, ``fallbacks`` operators of ATen (or an extern library) that are called
    instead. ``recompilations`` count further compilations of the same code, ``graph_breaks`` what was left to Python.
    """

    sources: dict[str, str]
    kernels: list[str]
    fallbacks: list[str]
    graph_breaks: int
    recompilations: int

    def document(self) -> dict[str, Any]:
        """Return all but the sources."""
        told = asdict(self)
        del told["sources"]
        return {"sentence": self.sentence, **told}

    @property
    def sentence(self) -> str:
        """Say it in words."""
        if not self.sources:
            return "torch.compile kept no source that could be read"
        parts = []
        if self.kernels:
            parts.append(f"generated {', '.join(_with_counts(self.kernels))}")
        if self.fallbacks:
            parts.append(f"left {', '.join(self.fallbacks)} to ATen")
        again = f"; recompilations: {self.recompilations}" if self.recompilations else ""
        return f"Inductor {' and '.join(parts) or 'generated no kernel'}{again}"


def _with_counts(names: list[str]) -> list[str]:
    return [f"{name} ({count} times)" if count > 1 else name for name, count in Counter(names).items()]


def read(function: Callable[[Tensor], Tensor]) -> Generated:
    """Return what was generated for a compiled function that has been called, and nothing else has been since."""
    generated = list(inductor.sources(function))
    counted = probes.compilation()
    sources: dict[str, str] = {}
    for is_backward, source in generated:
        stem = "backward" if is_backward else "generated"
        alike = sum(name.startswith(stem) for name in sources)
        sources[f"{stem}{alike + 1 if alike else ''}.py"] = source
    return Generated(
        sources=sources,
        kernels=[kernel for _, source in generated for kernel in inductor.kernels(source)],
        fallbacks=list(dict.fromkeys(operator for _, source in generated for operator in inductor.fallbacks(source))),
        graph_breaks=counted.graph_breaks,
        recompilations=counted.recompilations,
    )
