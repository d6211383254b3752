import pytest
import torch

from gapbench.profiling.networks import CLASSES, NETWORKS, Pool

PARAMETERS = {"resnet50-like": 25_557_032, "se-resnet50-like": 28_088_024}
"""As the papers' authors and torchvision give them for 1000 classes (SE-ResNet-50: with its 16 squeezes' biases)."""

SITES = {"resnet50-like": 1, "se-resnet50-like": 17, "inception-like": 1}


@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.name)
def test_a_network_classifies_images_and_pools_where_it_should(network):
    with torch.device("meta"):
        built = network.build()
        shapes = []
        for pool in (one for one in built.modules() if isinstance(one, Pool)):
            pool.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
        answer = built(torch.empty(2, 3, network.image, network.image))
    assert answer.shape == (2, CLASSES)
    assert len(shapes) == SITES[network.name]
    assert shapes[-1] == (2, 1024 if network.name == "inception-like" else 2048, 7, 7)
    if network.name in PARAMETERS:
        assert sum(one.numel() for one in built.parameters()) == PARAMETERS[network.name]


def test_se_resnet_squeezes_what_the_paper_says():
    with torch.device("meta"):
        built = next(one for one in NETWORKS if one.name == "se-resnet50-like").build()
        shapes = []
        for pool in (one for one in built.modules() if isinstance(one, Pool)):
            pool.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[1:])))
        built(torch.empty(1, 3, 224, 224))
    stages = [(256, 56, 56)] * 3 + [(512, 28, 28)] * 4 + [(1024, 14, 14)] * 6 + [(2048, 7, 7)] * 3
    assert shapes == [*stages, (2048, 7, 7)]


def test_a_pool_uses_what_it_is_told_and_keeps_it_out_of_the_network():
    pool, x = Pool(), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(pool(x), x.mean((2, 3), keepdim=True))
    pool.use(torch.nn.AdaptiveMaxPool2d(1))
    torch.testing.assert_close(pool(x), x.amax((2, 3), keepdim=True))
    assert list(pool.children()) == []
    pool.use(lambda y: y[..., :1, :1])
    torch.testing.assert_close(pool(x), x[..., :1, :1])
