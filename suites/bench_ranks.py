"""Which implementation for audio (1-D), video (3-D) and tokens?"""

from gapbench import suite
from gapbench.workloads.shapes import AUDIO, TOKENS, VIDEO
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(AUDIO, dtypes=["float32", "bfloat16"]),
    grid(VIDEO, dtypes=["float32", "bfloat16"], layouts=["contiguous", "channels_last"]),
    grid(TOKENS, dtypes=["float32", "bfloat16"], layouts=["channels_last", "sliced"]),
    implementations=DISTINCT,
)
def test_ranks(measured):
    measured()
