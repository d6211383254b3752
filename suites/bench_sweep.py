"""How do implementations scale over N·C and H·W: who wins where, and which fixed cost and bandwidth has each?"""

from gapbench import suite
from gapbench.workloads.shapes import plane
from gapbench.workloads.suites import DISTINCT, grid

SHAPES = plane(rows=[1, 16, 256, 4096, 65536], sides=[1, 4, 7, 14, 28, 56, 112])


@suite(
    grid(
        {label: shape for label, shape in SHAPES.items() if shape[0] * shape[1] * shape[2] * shape[3] <= 2**25},
        dtypes=["float32", "bfloat16"],
        layouts=["contiguous", "channels_last"],
    ),
    implementations=DISTINCT,
)
def test_sweep(measured):
    measured()
