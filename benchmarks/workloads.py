"""The twelve CPU cases that gapbench itself is judged on: real shapes, 5 µs to 1 ms a call of `mean` here."""

from gapbench.workloads.cases import Case
from gapbench.workloads.suites import grid

CASES: tuple[Case, ...] = (
    *grid({"tutorial example": (1, 64, 32, 32)}, dtypes=["float32", "bfloat16"]),
    *grid({"MobileNetV3-L squeeze": (1, 480, 14, 14)}, layouts=["contiguous", "channels_last"]),
    *grid({"ResNet-18 head": (8, 512, 7, 7)}, dtypes=["float32", "bfloat16"]),
    *grid({"ResNet-50 head": (8, 2048, 7, 7)}, layouts=["contiguous", "channels_last"]),
    *grid({"ViT-B/16 tokens": (4, 768, 196)}, layouts=["sliced", "permuted"]),
    *grid({"SE-ResNet-50 squeeze": (4, 256, 56, 56)}, layouts=["contiguous", "channels_last"]),
)
