"""Every way to compute GAP that gapbench knows.

To add one, write it in its family's file and it joins `IMPLEMENTATIONS`; the oracle's tests cover it unasked.
"""

from gapbench.implementations.arrays import ARRAYS
from gapbench.implementations.base import Implementation
from gapbench.implementations.compiled import COMPILED
from gapbench.implementations.eager import EAGER
from gapbench.implementations.numba import NUMBA
from gapbench.implementations.onnx import ONNX
from gapbench.implementations.triton import TRITON
from gapbench.workloads.passes import Function

__all__ = ["IMPLEMENTATIONS", "Function", "Implementation"]

IMPLEMENTATIONS: tuple[Implementation, ...] = (*EAGER, *COMPILED, *TRITON, *ONNX, *NUMBA, *ARRAYS)
