"""Which pooling for the feature maps of my own network?"""

from gapbench import grid, suite

MAPS = {"stage 3": (8, 96, 28, 28), "last stage": (8, 320, 14, 14)}


@suite(grid(MAPS, dtypes=["bfloat16"], layouts=["contiguous", "channels_last"]))
def test_mine(measured):
    measured()
