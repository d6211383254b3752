"""Real networks with random weights, as targets of `gapbench model`; they need `pip install 'gapbench[models]'`.

gapbench model record examples/networks.py:resnet50 --dtype bfloat16 --layout channels_last -o pooling.json

Nothing is downloaded: weights are random, made from configurations. Packages are imported by submodule, since some
import torchvision otherwise, whose published wheel does not fit every build of torch.
"""

import importlib

import torch
from torch import Tensor, nn

IMAGES = (8, 3, 224, 224)


def _pytorchcv(module: str, name: str, images: tuple[int, ...] = IMAGES) -> tuple[nn.Module, Tensor]:
    make = getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)
    return make(pretrained=False), torch.randn(images)


def resnet50() -> tuple[nn.Module, Tensor]:
    """ResNet-50: one average over 7x7 before the classifier."""
    return _pytorchcv("resnet", "resnet50")


def seresnet50() -> tuple[nn.Module, Tensor]:
    """SE-ResNet-50: a squeeze in each of 16 blocks."""
    return _pytorchcv("seresnet", "seresnet50")


def inception_v3() -> tuple[nn.Module, Tensor]:
    """Inception-v3, for images of 299x299."""
    return _pytorchcv("inceptionv3", "inceptionv3", (8, 3, 299, 299))


def efficientnet_b0() -> tuple[nn.Module, Tensor]:
    """EfficientNet-B0: squeezes of 1152 down to 32 channels."""
    return _pytorchcv("efficientnet", "efficientnet_b0")


def mobilenet_v3_large() -> tuple[nn.Module, Tensor]:
    """MobileNetV3-Large: squeezes in half of the blocks."""
    return _pytorchcv("mobilenetv3", "mobilenetv3_large_w1")


def convnext_tiny() -> tuple[nn.Module, Tensor]:
    """ConvNeXt-Tiny: one average over 7x7 before the classifier, and many channel norms, which are not pooling."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return ConvNextForImageClassification(ConvNextConfig(num_labels=1000)), torch.randn(IMAGES)


class _MeanPooled(nn.Module):
    """A vision transformer whose classifier gets the mean of all tokens but the first."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        classes: Tensor = self.head(self.body(x).last_hidden_state[:, 1:].mean(1))
        return classes


def vit_b16() -> tuple[nn.Module, Tensor]:
    """ViT-B/16 with mean pooling of its 196 tokens."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig()
    return _MeanPooled(ViTModel(config, add_pooling_layer=False), config.hidden_size), torch.randn(IMAGES)


NETWORKS = (resnet50, seresnet50, inception_v3, efficientnet_b0, mobilenet_v3_large, convnext_tiny, vit_b16)
