"""Which implementation for the shapes that people meet first: the tutorials' own, a head, a squeeze?"""

from gapbench import grid, suite
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE, TUTORIAL


@suite(
    grid(TUTORIAL),
    grid(RESNET50_HEAD, dtypes=["float32", "bfloat16"]),
    grid(RESNET50_SQUEEZE, dtypes=["bfloat16"], layouts=["contiguous", "channels_last"]),
    implementations=[
        "mean", "mean_flat", "sum_scale", "sum_float32", "einsum", "adaptive", "avg_pool", "matmul",
        "compiled_mean", "compiled_avg_pool", "compiled_sum_scale", "triton",
    ],
)  # fmt: skip
def test_quick(measured):
    measured()
