"""Networks in which global average pooling has its usual places, with random weights.

As published, batch normalisation included: ResNet-50 (He et al. 2016, Table 1), the same with squeeze and excitation
(Hu, Shen and Sun 2018, Table 1), and GoogLeNet (Szegedy et al. 2015, Table 1) without its auxiliary classifiers and
its dropout.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gapbench.implementations import Function

CLASSES = 1000


class Pool(nn.Module):
    """A place where a network pools globally: x (N, C, H, W) -> (N, C, 1, 1), by whatever it is told to `use`."""

    function: Function

    def __init__(self) -> None:
        super().__init__()
        self.use(lambda x: x.mean((2, 3), keepdim=True))

    def use(self, function: Function) -> None:
        """Pool by ``function`` from now on; one that is a module does not become a part of the network."""
        object.__setattr__(self, "function", function)

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        y: Tensor = self.function(x)
        return y


@dataclass(frozen=True, slots=True)
class Network:
    """A network by name; ``image`` is the side of its input (N, 3, image, image), ``build()`` makes it."""

    name: str
    summary: str
    image: int
    build: Callable[[], nn.Module]


def _convolved(inputs: int, outputs: int, kernel: int, stride: int = 1, active: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if active else []))


def _head(channels: int) -> list[nn.Module]:
    return [Pool(), nn.Flatten(), nn.Linear(channels, CLASSES)]


class _Squeeze(nn.Module):
    """Squeeze and excitation: channels weighted by what their averages say."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.pool = Pool()
        narrow = channels // reduction
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.weigh(self.pool(x))
        return y


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            _convolved(inputs, width, 1),
            _convolved(width, width, 3, stride),
            _convolved(width, outputs, 1, active=False),
            *([_Squeeze(outputs)] if squeeze else []),
        )
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else _convolved(inputs, outputs, 1, stride, active=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _resnet50(squeeze: bool) -> nn.Module:
    blocks: list[nn.Module] = []
    inputs = 64
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(depth):
            blocks.append(_Bottleneck(inputs, width, 2 if stage and not block else 1, squeeze))
            inputs = 4 * width
    return nn.Sequential(_convolved(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *blocks, *_head(inputs))


class _Inception(nn.Module):
    """Four branches side by side; ``widths`` are #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5 and pool proj."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, narrow3, three, narrow5, five, pooled = widths
        self.branches = nn.ModuleList(
            [
                _convolved(inputs, one, 1),
                nn.Sequential(_convolved(inputs, narrow3, 1), _convolved(narrow3, three, 3)),
                nn.Sequential(_convolved(inputs, narrow5, 1), _convolved(narrow5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolved(inputs, pooled, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


_GOOGLENET = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    ((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
     (256, 160, 320, 32, 128, 128)),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)  # fmt: skip


def _googlenet() -> nn.Module:
    layers: list[nn.Module] = [_convolved(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), _convolved(64, 64, 1)]
    layers.append(_convolved(64, 192, 3))
    inputs = 192
    for stage in _GOOGLENET:
        layers.append(nn.MaxPool2d(3, 2, 1))
        for widths in stage:
            layers.append(_Inception(inputs, widths))
            one, _, three, _, five, pooled = widths
            inputs = one + three + five + pooled
    return nn.Sequential(*layers, *_head(inputs))


NETWORKS: tuple[Network, ...] = (
    Network("resnet50-like", "ResNet-50, which pools once, before its classifier", 224, lambda: _resnet50(False)),
    Network(
        "se-resnet50-like", "ResNet-50 with squeeze and excitation, which pools 17 times", 224, lambda: _resnet50(True)
    ),
    Network("inception-like", "GoogLeNet, which pools once, before its classifier", 224, _googlenet),
)
