"""Global average pooling itself."""

from gapbench.implementations import IMPLEMENTATIONS
from gapbench.operations.base import Operation
from gapbench.records import REFERENCE

GAP = Operation(
    "gap", "global average pooling: the mean over all spatial dimensions", REFERENCE, IMPLEMENTATIONS, joinable=True
)
