"""Named shapes that real networks pool, with their source.

Sizes are (C, H, W) at 224 px input as defined by torchvision and timm; the batch comes first in each shape.
"""

Shape = tuple[int, ...]

TUTORIAL: dict[str, Shape] = {"tutorial example": (1, 64, 32, 32)}
"""The example of the usual tutorials on global average pooling."""

RESNET50_HEAD: dict[str, Shape] = {"ResNet-50 head": (8, 2048, 7, 7)}
"""The last feature map before the classifier (torchvision), batch 8."""

RESNET50_SQUEEZE: dict[str, Shape] = {"SE-ResNet-50 squeeze": (8, 256, 56, 56)}
"""The first squeeze-and-excite stage (timm), batch 8: the largest map that SE-ResNet-50 pools."""
