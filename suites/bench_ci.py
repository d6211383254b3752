"""Did this pull request make pooling slower? Twelve cases of 9 µs to 1 ms that differ in what they depend on."""

from gapbench import grid, suite
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE, TUTORIAL

SQUEEZE = {label: (1, *shape[1:]) for label, shape in RESNET50_SQUEEZE.items()}


@suite(
    grid(TUTORIAL, dtypes=["float32", "bfloat16"], layouts=["contiguous", "channels_last"]),
    grid(RESNET50_HEAD, dtypes=["float32", "bfloat16"], layouts=["contiguous", "channels_last"]),
    grid(SQUEEZE, layouts=["contiguous", "channels_last"]),
    grid(RESNET50_HEAD, passes=["backward"], layouts=["contiguous", "channels_last"]),
    implementations=["mean", "sum_scale", "adaptive", "avg_pool", "compiled_mean"],
)
def test_ci(measured):
    measured()
