"""Named shapes (batch first) that networks of torchvision and timm pool, at 224 px unless a label says otherwise."""

from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def batches(shapes: Mapping[str, Shape], sizes: Sequence[int]) -> Shapes:
    """Return every shape with every batch size in place of its own."""
    return {f"{label}, batch {n}": (n, *shape[1:]) for n in sizes for label, shape in shapes.items()}


TUTORIAL: Shapes = {"tutorial example": (1, 64, 32, 32)}  # the example of the usual tutorials on global average pooling

RESNET50_HEAD: Shapes = {"ResNet-50 head": (8, 2048, 7, 7)}
"""The last feature map before the classifier (torchvision), batch 8."""

VGG16_HEAD: Shapes = {"VGG-16 features": (8, 512, 7, 7)}  # the map that VGG-16 flattens (torchvision), batch 8

RESNET50_SQUEEZE: Shapes = {"SE-ResNet-50 squeeze": (8, 256, 56, 56)}
"""The first squeeze-and-excite stage (timm), batch 8: the largest map that SE-ResNet-50 pools."""

HEADS: Shapes = {
    "ResNet-50 head": (1, 2048, 7, 7), "MobileNetV2 head": (1, 1280, 7, 7),
    "EfficientNet-B7 head, 600 px": (1, 2560, 19, 19), "SqueezeNet head": (1, 1000, 13, 13),
    "ResNet-18 head": (1, 512, 7, 7), "Inception-v3 head, 299 px": (1, 2048, 8, 8),
    "RegNetY-128GF head": (1, 7392, 7, 7), "GoogLeNet and DenseNet-121 head": (1, 1024, 7, 7),
    "MobileNetV3-L head": (1, 960, 7, 7), "MobileNetV3-S head": (1, 576, 7, 7),
    "RegNetY-400MF head": (1, 440, 7, 7), "ConvNeXt-T head": (1, 768, 7, 7), "ConvNeXt-L head": (1, 1536, 7, 7),
    "EfficientNet-B2 head, 288 px": (1, 1408, 9, 9), "EfficientNet-B3 head, 300 px": (1, 1536, 10, 10),
    "EfficientNet-B4 head, 380 px": (1, 1792, 12, 12), "EfficientNet-B5 head, 456 px": (1, 2048, 15, 15),
    "EfficientNet-B6 head, 528 px": (1, 2304, 17, 17),
}  # fmt: skip
"""Feature maps before the classifier, each shape once though several networks share it. Swin's is a permuted view."""

_SQUEEZES: tuple[tuple[str, Shape, int], ...] = (
    ("SE-ResNet-50 stage 1", (8, 256, 56, 56), 3), ("SE-ResNet-50 stage 2", (8, 512, 28, 28), 4),
    ("SE-ResNet-50 stage 3", (8, 1024, 14, 14), 6), ("SE-ResNet-50 stage 4", (8, 2048, 7, 7), 3),
    ("MobileNetV3-L 72x28x28", (8, 72, 28, 28), 1), ("MobileNetV3-L 120x28x28", (8, 120, 28, 28), 2),
    ("MobileNetV3-L and EfficientNet-B0 480x14x14", (8, 480, 14, 14), 4),
    ("MobileNetV3-L and EfficientNet-B0 672x14x14", (8, 672, 14, 14), 3),
    ("MobileNetV3-L and EfficientNet-B0 672x7x7", (8, 672, 7, 7), 2), ("MobileNetV3-L 960x7x7", (8, 960, 7, 7), 2),
    ("EfficientNet-B0 32x112x112", (8, 32, 112, 112), 1), ("EfficientNet-B0 96x56x56", (8, 96, 56, 56), 1),
    ("EfficientNet-B0 144x56x56", (8, 144, 56, 56), 1), ("EfficientNet-B0 144x28x28", (8, 144, 28, 28), 1),
    ("EfficientNet-B0 240x28x28", (8, 240, 28, 28), 1), ("EfficientNet-B0 240x14x14", (8, 240, 14, 14), 1),
    ("EfficientNet-B0 1152x7x7", (8, 1152, 7, 7), 4),
)  # fmt: skip
SQUEEZES: Shapes = {label: shape for label, shape, _ in _SQUEEZES}
"""Maps that squeeze-and-excite networks pool (timm), batch 8."""

SQUEEZE_COUNTS: dict[str, int] = {label: count for label, _, count in _SQUEEZES if count > 1}
"""How often one forward pass of these networks together pools each shape, where that is more than once."""

DETECTION: Shapes = {
    "detection stage 5, 800x1344": (1, 2048, 25, 42),
    "detection stage 2, 800x1344": (1, 256, 200, 336),
    "DeepLabV3 image pooling": (1, 2048, 65, 65),
    "detection stage 3, 800x1344": (1, 512, 100, 168),
    "detection stage 4, 800x1344": (1, 1024, 50, 84),
}
"""Feature maps of detection and segmentation networks, whose images are larger (torchvision)."""

AUDIO: Shapes = {"audio, 512 features": (16, 512, 300), "audio, 1024 features": (16, 1024, 200)}
"""Frames of speech models, padded to the longest of the batch."""

VIDEO: Shapes = {"r3d-18 head": (4, 512, 2, 7, 7), "mc3-18 head": (4, 512, 16, 7, 7)}
"""Video networks' last maps (torchvision)."""

TOKENS: Shapes = {"ViT-B/16 patch tokens": (8, 768, 196)}
"""Tokens that a ViT without class token averages (timm): 14x14 patches, stored as (N, tokens, features)."""


def plane(rows: Sequence[int], sides: Sequence[int]) -> Shapes:
    """Return shapes that span N·C x H·W: batches of 1 where channels suffice, 256 channels a sample beyond."""
    return {
        f"N·C {count}, {side}x{side}": (max(1, count // 256), min(count, 256), side, side)
        for side in sides
        for count in rows
    }
