"""All implementations of global average pooling: one file per family, with a tuple that new ones join."""

from gapbench.implementations.base import Implementation
from gapbench.implementations.compiled import COMPILED
from gapbench.implementations.eager import EAGER, NUMPY
from gapbench.implementations.triton import TRITON
from gapbench.workloads.passes import Function

__all__ = ["IMPLEMENTATIONS", "Function", "Implementation"]

IMPLEMENTATIONS: tuple[Implementation, ...] = (*EAGER, *COMPILED, *TRITON, *NUMPY)
