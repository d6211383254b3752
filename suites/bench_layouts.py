"""Does the best implementation change with the memory layout, and what does the wrong one cost?"""

from gapbench import suite
from gapbench.workloads.cases import LAYOUTS
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(RESNET50_HEAD, dtypes=["float32", "bfloat16", "float16"], layouts=list(LAYOUTS)),
    grid(RESNET50_SQUEEZE, dtypes=["float32", "bfloat16", "float16"], layouts=list(LAYOUTS)),
    implementations=DISTINCT,
)
def test_layouts(measured):
    measured()
