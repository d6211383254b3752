"""Whole networks of kept packages: what is recorded agrees with an independent count of modules and calls."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gapbench.profiling import networks
from gapbench.workloads.suites import import_file

real = import_file("real_networks", Path(__file__).parents[2] / "examples" / "networks.py")

COUNTS = {
    "resnet50": 1, "seresnet50": 17, "inception_v3": 1, "efficientnet_b0": 17, "mobilenet_v3_large": 9,
    "convnext_tiny": 1, "vit_b16": 1,
}  # fmt: skip
"""The squeezes of the papers' tables, and the average before each classifier."""


def counted(network, monkeypatch):
    """Count pooling modules that leave one position, by hooks, and calls of Tensor.mean over two dimensions or tokens.

    The modules' own code does not call Tensor.mean.
    """
    count = 0
    mean = torch.Tensor.mean

    def seen(module, args, output):
        nonlocal count
        pools = isinstance(module, (nn.AdaptiveAvgPool2d, nn.AvgPool2d))
        count += pools and output.shape[2:].numel() == 1 < args[0].shape[2:].numel()

    def own_mean(self, dim=None, *args, **kwargs):
        nonlocal count
        dims = () if dim is None else (dim,) if isinstance(dim, int) else dim
        count += len(dims) == 2 or (self.dim() == 3 and dims == (1,))
        return mean(self, *(() if dim is None else (dim,)), *args, **kwargs)

    with monkeypatch.context() as patch, nn.modules.module.register_module_forward_hook(seen), torch.no_grad():
        patch.setattr(torch.Tensor, "mean", own_mean)
        network.module.eval()(*network.args)
    return count


@pytest.mark.parametrize("make", real.NETWORKS, ids=lambda make: make.__name__)
def test_all_pooling_of_a_real_network_is_recorded(make, monkeypatch):
    monkeypatch.setattr(networks, "_PASSES", 1)
    module, images = make()
    network = networks.Network(make.__name__, module, [images[:1]])
    recorded = networks.record(network)
    assert sum(case.count for case in recorded.cases) == counted(network, monkeypatch) == COUNTS[make.__name__]
    assert all(site.module in dict(module.named_modules()) for case in recorded.cases for site in case.sites)


def test_every_network_is_an_example():
    assert {make.__name__ for make in real.NETWORKS} == {*COUNTS}
