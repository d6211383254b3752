"""Do more threads make it faster, or do their barriers cost more than they save?"""

from gapbench import suite
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE, TUTORIAL
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(RESNET50_SQUEEZE | RESNET50_HEAD | TUTORIAL, dtypes=["float32", "bfloat16"], threads=[1, 2, 4]),
    implementations=DISTINCT,
)
def test_threads(measured):
    measured()
