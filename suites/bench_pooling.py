"""What does global average pooling cost beside global maximum and 2x2 windows on the same inputs?"""

from gapbench import grid, suite
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE


@suite(
    grid(
        RESNET50_HEAD | RESNET50_SQUEEZE,
        dtypes=["float32", "bfloat16"],
        layouts=["contiguous", "channels_last"],
        passes=["forward", "backward"],
        operation="pooling",
    )
)
def test_pooling(measured):
    measured()
