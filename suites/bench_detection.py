"""Which implementation for the large maps of detection and segmentation, at batch 1?"""

from gapbench import suite
from gapbench.shapes import DETECTION
from gapbench.suites import grid


@suite(grid(DETECTION, dtypes=["float32", "bfloat16"], layouts=["contiguous", "channels_last"]))
def test_detection(measured):
    measured()
