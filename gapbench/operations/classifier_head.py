"""Classifier heads with and without GAP, to measure what it saves; VGG-16's without dropout, which is random."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from gapbench.implementations import Implementation
from gapbench.operations.base import Operation
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import Differentiated

CLASSES, HIDDEN = 1000, 4096  # ImageNet's classes, and the width of VGG's hidden layers (torchvision)
_SPREAD = 0.3
_BIAS = 4.0
"""Hidden units get biases of ±4 and weights so small that eight standard deviations separate every unit from 0. Which
units ReLU passes then does not depend on rounding, so gradients can be compared."""

_PERIOD = 65_537


def _fill(layer: nn.Module) -> None:
    if not isinstance(layer, nn.Linear):
        return
    inputs, outputs = layer.in_features, layer.out_features
    pattern = torch.empty(_PERIOD).uniform_(-_SPREAD, _SPREAD, generator=torch.Generator().manual_seed(inputs))
    pattern /= inputs**0.5
    weights = layer.weight.data.view(-1)
    whole = weights.numel() // _PERIOD * _PERIOD
    weights[:whole].view(-1, _PERIOD).copy_(pattern)
    weights[whole:].copy_(pattern[: weights.numel() - whole])
    layer.bias.data.copy_(torch.where(torch.arange(outputs) % 2 == 0, _BIAS, -_BIAS))


def _three(inputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)]


HEADS: dict[str, tuple[str, str, Callable[[Case], list[nn.Module]]]] = {
    "gap_linear": (
        "global average pooling and one linear layer, as in ResNet",
        "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(x.shape[1], 1000))(x)",
        lambda case: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(case.c, CLASSES)],
    ),
    "flatten_linear": (
        "all positions flattened into one linear layer",
        "nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 1000))(x)",
        lambda case: [nn.Flatten(), nn.Linear(case.c * case.window, CLASSES)],
    ),
    "flatten_three_linear": (
        "all positions flattened into three linear layers, as in VGG",
        "nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), "
        "nn.Linear(4096, 1000))(x)",
        lambda case: [nn.Flatten(), *_three(case.c * case.window)],
    ),
    "adaptive7_three_linear": (
        "adaptive pooling to 7x7 before VGG's three layers, so that it takes any input size: the control",
        "nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49 * x.shape[1], 4096), nn.ReLU(), "
        "nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000))(x)",
        lambda case: [nn.AdaptiveAvgPool2d(7), nn.Flatten(), *_three(49 * case.c)],
    ),
}
"""Summary, code and layers of each head."""


def _unsupported(case: Case) -> str | None:
    if len(case.spatial) != 2 or not case.elements:
        return "heads classify images; choose a --shape of four sizes without a 0"
    if case.dtype == "float16" and case.pass_ in ("update", "training"):
        return "Adam's epsilon is 0 in float16 and its update NaN; choose --dtype bfloat16"
    return None


def _head(name: str) -> Implementation:
    summary, snippet, layers = HEADS[name]

    def described(case: Case) -> nn.Sequential:
        with torch.device("meta"):  # without time or memory
            return nn.Sequential(*layers(case))

    def prepare(case: Case) -> nn.Module:
        return described(case).to_empty(device="cpu").apply(_fill).to(case.device, getattr(torch, case.dtype))

    def exactly(case: Case) -> Callable[[Tensor], Tensor]:
        return prepare(replace(case, device="cpu")).double().requires_grad_(False)

    def parameters(case: Case) -> int:
        return sum(weights.numel() for weights in described(case).parameters())

    def summed(case: Case) -> int:
        return max(layer.in_features for layer in described(case) if isinstance(layer, nn.Linear))

    truth = Differentiated(exactly, lambda case: (case.n, CLASSES), summed)
    return Implementation(name, "head", summary, snippet, prepare, _unsupported, parameters=parameters, truth=truth)


CLASSIFIER_HEAD = Operation(
    "classifier_head", "a classifier's head over 1000 classes, with and without global average pooling",
    "gap_linear", tuple(_head(name) for name in HEADS), ranked=False,
)  # fmt: skip
