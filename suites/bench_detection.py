"""Which implementation for the large maps of detection and segmentation, at batch 1?"""

from gapbench import suite
from gapbench.workloads.shapes import DETECTION
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(DETECTION, dtypes=["float32", "bfloat16"], layouts=["contiguous", "channels_last"]), implementations=DISTINCT
)
def test_detection(measured):
    measured()
