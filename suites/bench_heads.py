"""Which implementation before a classifier, for every network's last feature map and batch sizes from 1 to 128?"""

from gapbench import suite
from gapbench.workloads.shapes import HEADS, batches
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(
        batches(HEADS, [1, 8, 32, 128]),
        dtypes=["float32", "bfloat16", "float16"],
        layouts=["contiguous", "channels_last"],
    ),
    implementations=DISTINCT,
)
def test_heads(measured):
    measured()
