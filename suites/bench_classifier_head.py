"""What does GAP save a classifier: parameters, memory, and the time of forward, backward and optimiser?"""

from gapbench import grid, suite
from gapbench.workloads.shapes import VGG16_HEAD, batches

HEADS = {"operation": "classifier_head"}


@suite(
    grid(batches(VGG16_HEAD, [1, 32]), passes=["forward", "backward", "training"], **HEADS),
    grid(VGG16_HEAD, passes=["update"], **HEADS),
)
def test_classifier_head(measured):
    measured()
