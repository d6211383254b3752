"""Which implementation in training, where a graph is recorded, walked and thrown away in every step?"""

from gapbench import suite
from gapbench.workloads.shapes import RESNET50_HEAD, RESNET50_SQUEEZE, VGG16_HEAD
from gapbench.workloads.suites import DISTINCT, grid


@suite(
    grid(
        RESNET50_HEAD | RESNET50_SQUEEZE,
        dtypes=["float32", "bfloat16"],
        layouts=["contiguous", "channels_last"],
        passes=["training"],
    ),
    grid(VGG16_HEAD, operation="classifier_head", passes=["training"]),
    implementations=DISTINCT,
)
def test_training_step(measured):
    measured()
