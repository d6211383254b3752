"""What do changing image sizes (160 to 320 px) cost, eager and compiled, and how often is code compiled again?"""

from gapbench import grid, suite
from gapbench.workloads.shapes import LARGEST_IMAGES


@suite(grid(LARGEST_IMAGES, dtypes=["float32", "bfloat16"], operation="varying_size"))
def test_varying_size(measured):
    measured()
