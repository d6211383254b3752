"""All implementations of global average pooling, one file per family.

To add one, write it in its family's file and add it to the tuple there; the oracle's tests then cover it.
"""

from gapbench.implementations.base import Implementation
from gapbench.implementations.compiled import COMPILED
from gapbench.implementations.eager import EAGER, NUMPY
from gapbench.implementations.triton import TRITON
from gapbench.workloads.passes import Function

__all__ = ["IMPLEMENTATIONS", "Function", "Implementation"]

IMPLEMENTATIONS: tuple[Implementation, ...] = (*EAGER, *COMPILED, *TRITON, *NUMPY)
