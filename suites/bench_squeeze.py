"""Which implementation inside squeeze-and-excite blocks, each shape weighted by how often these networks pool it?"""

from gapbench import suite
from gapbench.workloads.shapes import SQUEEZE_COUNTS, SQUEEZES
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(SQUEEZES, dtypes=["float32", "bfloat16"], layouts=["contiguous", "channels_last"], weights=SQUEEZE_COUNTS),
    implementations=DISTINCT,
)
def test_squeeze(measured):
    measured()
