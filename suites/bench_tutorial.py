"""Is the tutorials' own choice a good one for their own example, and do their claims about heads hold for it?"""

from gapbench import grid, suite
from gapbench.workloads.shapes import TUTORIAL


@suite(
    grid(TUTORIAL, dtypes=["float32", "float16", "bfloat16"], layouts=["contiguous", "channels_last"]),
    grid(TUTORIAL, passes=["backward", "training"]),
    grid(TUTORIAL, operation="classifier_head"),
    grid(TUTORIAL, operation="pooling"),
)
def test_tutorial(measured):
    measured()
