"""Which of our Triton kernels for which shape, and does the dispatcher take the right one?"""

from gapbench import grid, suite
from gapbench.implementations.triton import TRITON

HEADS = {f"ResNet-50 head, batch {n}": (n, 2048, 7, 7) for n in (1, 8, 64, 256)}
SQUEEZES = {"SE-ResNet-50 squeeze": (8, 256, 56, 56), "EfficientNet-B0 squeeze": (8, 32, 112, 112)}
SINGLE = {"EfficientNet-B0 squeeze, one image": (1, 32, 112, 112), "ViT-B/16 tokens, one image": (1, 768, 14, 14)}
DETECTION = {"detection, finest level": (1, 256, 200, 336)}
MANY_ROWS = {"hundreds of thousands of rows": (512, 1024, 7, 7), "aligned rows": (512, 1024, 8, 8)}
HALF, BOTH = ["float16"], ["contiguous", "channels_last"]


@suite(
    grid(HEADS, HALF, BOTH),
    grid(SQUEEZES, HALF, BOTH),
    grid(SINGLE, HALF, ["channels_last", "permuted"]),
    grid(DETECTION, HALF, BOTH),
    grid(MANY_ROWS, ["float16", "float32"]),
    grid({"ResNet-50 head, batch 64": (64, 2048, 7, 7)}, HALF, BOTH, ["backward"]),
    grid({"SE-ResNet-50 squeeze": (8, 256, 56, 56)}, HALF, BOTH, ["backward"]),
    implementations=["mean", "compiled_mean", *(one.name for one in TRITON)],
)
def test_triton(measured):
    measured()
