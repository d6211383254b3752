"""Which implementation has the cheapest gradient, with every byte of it written?"""

from gapbench import suite
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE, TUTORIAL
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(
        RESNET50_HEAD | RESNET50_SQUEEZE | TUTORIAL,
        dtypes=["float32", "bfloat16"],
        layouts=["contiguous", "channels_last"],
        passes=["backward"],
    ),
    implementations=DISTINCT,
)
def test_backward(measured):
    measured()
