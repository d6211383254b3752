"""Which calls of a network are pooling, where they are, and what they cost; clocks are made up."""

import contextlib
import itertools
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from gapbench.errors import GapbenchError
from gapbench.operations.network import Network, unwrapped
from gapbench.profiling import networks
from gapbench.profiling.networks import record


@pytest.fixture(autouse=True)
def _one_pass(monkeypatch):
    monkeypatch.setattr(networks, "_PASSES", 1)


class Of(nn.Module):
    """A module whose forward pass is a function."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, *inputs):
        return self.function(*(each * self.weight for each in inputs))


def cases(module, *inputs, step=False):
    """Return the count of each recorded case, as shape, layout and pass."""
    recorded = record(Network("net", module, inputs), step)
    return {(each.shape, each.layout, each.pass_): each.count for each in recorded.cases}


def window(x):
    return x.shape[2] * x.shape[3]


IMAGE = {
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive, a pair": lambda x: F.adaptive_avg_pool2d(x, (1, 1)),
    "mean": lambda x: x.mean((2, 3)),
    "mean in the other order": lambda x: x.mean((3, 2), keepdim=True),
    "mean of negative dims": lambda x: torch.mean(x, (-1, -2)),
    "in two stages": lambda x: x.mean(3, keepdim=True).mean(2, keepdim=True),
    "in two stages that drop": lambda x: x.mean(2).mean(2),
    "average pooling": lambda x: F.avg_pool2d(x, x.shape[2:]),
    "average pooling, stride 1": lambda x: F.avg_pool2d(x, x.shape[2:], stride=1, count_include_pad=False),
    "average pooling, own divisor": lambda x: F.avg_pool2d(x, x.shape[2:], divisor_override=window(x)),
    "sum of windows": lambda x: F.avg_pool2d(x, x.shape[2:], divisor_override=1) / window(x),
    "sum, division": lambda x: x.sum((2, 3)) / window(x),
    "sum, division in place": lambda x: x.sum((2, 3), keepdim=True).div_(window(x)),
    "sum, product": lambda x: (1 / window(x)) * x.sum((-1, -2)),
    "sum, view, two scales": lambda x: x.sum((2, 3), keepdim=True).flatten(1) / x.shape[2] / x.shape[3],
    "sum, tensor": lambda x: x.sum((2, 3)) / torch.tensor(float(window(x))),
    "einsum": lambda x: torch.einsum("nchw->nc", x) / window(x),
    "reduce of a permuted view": lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
    "in inference mode": torch.inference_mode()(lambda x: F.adaptive_avg_pool2d(x * 1, 1)),
    "used in place": lambda x: F.adaptive_avg_pool2d(x, 1).mul_(2).add_(1),
}
DECOYS = {
    "adaptive to 2x2": lambda x: F.adaptive_avg_pool2d(x, 2),
    "adaptive to a column": lambda x: F.adaptive_avg_pool2d(x, (1, 2)),
    "2x2 windows": lambda x: F.avg_pool2d(x, 2),
    "a padded window": lambda x: F.avg_pool2d(x, (4, 5), padding=(1, 1)),
    "channels": lambda x: x.mean(1),
    "batch": lambda x: x.mean(0),
    "batch statistics": lambda x: x.mean((0, 2, 3)),
    "rows": lambda x: x.mean(2),
    "all": lambda x: x.mean(),
    "a whole image": lambda x: x.mean((1, 2, 3)),
    "an unbiased sum": lambda x: x.sum((2, 3)) / (window(x) - 1),
    "a plain sum": lambda x: x.sum((2, 3)),
    "a changed sum": lambda x: x.sum((2, 3)).add_(1) / window(x),
    "a floored sum": lambda x: torch.div(x.sum((2, 3)), window(x), rounding_mode="floor"),
    "variance": lambda x: torch.var_mean(x, (2, 3)),
    "maximum": lambda x: x.amax((2, 3)),
    "layer norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("spelling", IMAGE)
@pytest.mark.parametrize("step", [False, True])
def test_every_spelling_of_the_average_over_an_image_is_a_call(spelling, step):
    expected = "training" if step and spelling != "in inference mode" else "forward"
    module = Of(lambda x: (IMAGE[spelling](x).clone(), x.sum()))
    assert cases(module, torch.ones(2, 3, 4, 5), step=step) == {("2x3x4x5", "contiguous", expected): 1}


@pytest.mark.parametrize("decoy", DECOYS)
def test_what_is_no_average_over_all_positions_is_no_call(decoy):
    assert cases(Of(DECOYS[decoy]), torch.ones(2, 3, 4, 5)) == {}
    assert cases(Of(DECOYS[decoy]), torch.ones(2, 3, 4, 5), step=decoy != "a floored sum") == {}


@pytest.mark.parametrize(
    ("function", "inputs", "shape", "layout"),
    [
        (lambda x: F.adaptive_avg_pool1d(x, 1), (2, 3, 7), "2x3x7", "contiguous"),
        (lambda x: F.avg_pool1d(x, 7), (2, 3, 7), "2x3x7", "contiguous"),
        (nn.Sequential(nn.Conv1d(3, 3, 1), Of(lambda x: x.relu().mean(-1))), (2, 3, 7), "2x3x7", "contiguous"),
        (lambda x: x.flatten(2).mean(-1), (2, 3, 4, 5), "2x3x20", "contiguous"),
        (lambda x: x.mean(1), (2, 7, 3), "2x3x7", "channels_last"),
        (lambda x: x[:, 1:].mean(1), (2, 7, 3), "2x3x6", "sliced"),
        (lambda x: x.flatten(2).transpose(1, 2).mean(1), (2, 3, 4, 5), "2x3x20", "contiguous"),
        (lambda x: x.transpose(0, 1).mean(1), (7, 2, 3), "2x3x7", "permuted"),
        (lambda x: F.adaptive_avg_pool3d(x, 1), (2, 3, 4, 5, 6), "2x3x4x5x6", "contiguous"),
        (lambda x: F.avg_pool3d(x, (4, 5, 6)), (2, 3, 4, 5, 6), "2x3x4x5x6", "contiguous"),
        (lambda x: x.mean((1, 2, 3)), (2, 4, 5, 6, 3), "2x3x4x5x6", "channels_last"),
        (lambda x: x.permute(0, 3, 1, 2).mean((2, 3)), (2, 4, 5, 3), "2x3x4x5", "channels_last"),
    ],
)
def test_audio_tokens_and_video(function, inputs, shape, layout):
    module = function if isinstance(function, nn.Module) else Of(function)
    assert cases(module, torch.ones(inputs)) == {(shape, layout, "forward"): 1}


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(3, 3), Of(lambda x: x.mean(-1, keepdim=True))),
        nn.Sequential(nn.LayerNorm(3), Of(lambda x: x - x.mean(-1, keepdim=True))),
        Of(lambda x: x * (x.pow(2).mean(-1, keepdim=True) + 1).rsqrt()),
        nn.Sequential(nn.Conv1d(7, 7, 1), Of(lambda x: x.mean(1))),
        Of(lambda x: x.mean(0)),
        Of(lambda x: x.mean((1, 2))),
    ],
)
def test_features_of_tokens_and_channels_of_audio_are_not_averaged_over_positions(module):
    assert cases(module, torch.ones(2, 7, 3)) == {}


def test_strides_between_those_of_layouts_are_said():
    recorded = record(Network("net", Of(lambda x: x[:, 2:].mean(1)), [torch.ones(2, 7, 3)]))
    (warning,) = recorded.warnings
    assert recorded.cases[0].layout == "sliced"
    assert "strides (21, 1, 3) of 2x3x5-" in str(warning)
    assert "xpect other times than those of sliced" in str(warning)


class Squeeze(nn.Module):
    """A squeeze-and-excite block."""

    def __init__(self, channels):
        super().__init__()
        self.pool, self.gate = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x * self.gate(self.pool(x)).sigmoid()


class Net(nn.Module):
    """Two squeezes, one of them shared by two places, and a head."""

    def __init__(self):
        super().__init__()
        self.shared = Squeeze(8)
        self.one, self.two = nn.Sequential(nn.Conv2d(3, 8, 3), self.shared), nn.ModuleDict({"again": self.shared})
        self.down, self.head = nn.Conv2d(8, 4, 3, 2), nn.Linear(4, 2)

    def forward(self, x):
        x = self.two["again"](self.one(x))
        return self.head(self.down(x).mean((2, 3)))


X = torch.ones(2, 3, 12, 12)


def test_sites_have_the_path_of_the_module_that_was_called_its_line_and_spelling():
    recorded = record(Network("net", Net(), [X]))
    sites = {site.module: (site.source, site.spelling, site.count) for each in recorded.cases for site in each.sites}
    assert {path: spelling for path, (_, spelling, _) in sites.items()} == {
        "one.1.pool": "adaptive_avg_pool2d",
        "shared.pool": "adaptive_avg_pool2d",
        "": "mean",
    }
    assert {count for *_, count in sites.values()} == {1}
    lines = open(__file__, encoding="utf-8").read().splitlines()  # noqa: PTH123, SIM115
    for path, part in (("one.1.pool", "self.pool(x)"), ("shared.pool", "self.pool(x)"), ("", "x).mean((2, 3))")):
        file, _, line = sites[path][0].rpartition(":")
        assert file.endswith("test_networks.py")
        assert part in lines[int(line) - 1]


def test_calls_agree_with_what_the_profiler_counts():
    net = Net().eval()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        net(X)
    means = Counter("x".join(map(str, each.input_shapes[0])) for each in profile.events() if each.name == "aten::mean")
    assert Counter({each.shape: each.count for each in record(Network("net", net, [X])).cases}) == means


EXPECTED = {("2x8x10x10", "contiguous", "forward"): 2, ("2x4x4x4", "contiguous", "forward"): 1}


def distributed():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    return nn.parallel.DistributedDataParallel(Net())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net,
        nn.DataParallel,
        lambda _: distributed(),
        torch.compile,
        lambda net: torch.compile(nn.DataParallel(net)),
        lambda net: torch.export.export(net.eval(), (X,)),
        lambda net: torch.export.export(net.eval(), (X,)).run_decompositions(),
        lambda net: torch.fx.symbolic_trace(net),
    ],
    ids=["plain", "DataParallel", "DDP", "compiled", "both", "exported", "decomposed", "traced"],
)
def test_wrapped_compiled_and_exported_modules_are_recorded_as_they_are(wrap):
    try:
        module = unwrapped(wrap(Net()))
        assert cases(module, X) == EXPECTED
        assert sum(cases(module, X, step=True).values()) == 3
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def test_sites_of_exported_programs_and_compiled_parts_are_those_of_the_source():
    net = Net()
    net.one = torch.compile(net.one)
    for module in (net, unwrapped(torch.export.export(Net().eval(), (X,)))):
        sites = [site for each in record(Network("net", module, [X])).cases for site in each.sites]
        paths = {site.module for site in sites}
        assert paths - {"shared.pool", "two.again.pool"} == {"one.1.pool", ""}  # the shared one has two paths
        assert len(paths) == 3
        assert all("test_networks.py:" in site.source for site in sites)


def test_gradients_are_those_of_the_step():
    def frozen(x):
        with torch.no_grad():
            still = x.mean((2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            low = F.adaptive_avg_pool2d(F.conv2d(x, torch.ones(2, 3, 1, 1)), 1)
        return still, low, (x.mean((2, 3)) if x.sum() > 0 else x)

    assert cases(Of(frozen), torch.ones(2, 3, 4, 5), step=True) == {
        ("2x3x4x5", "contiguous", "forward"): 1,
        ("2x3x4x5", "contiguous", "training"): 1,
        ("2x2x4x5", "contiguous", "training"): 1,
    }
    dtypes = {each.shape: each.dtype for each in record(Network("net", Of(frozen), [torch.ones(2, 3, 4, 5)])).cases}
    assert dtypes == {"2x3x4x5": "float32", "2x2x4x5": "bfloat16"}


def test_what_a_checkpoint_runs_again_is_called_again():
    inner = Of(lambda x: x.mean((2, 3)).exp())
    module = Of(lambda x: checkpoint(inner, x, use_reentrant=False))
    module.inner = inner
    assert cases(module, torch.ones(2, 3, 4, 5)) == {("2x3x4x5", "contiguous", "forward"): 1}
    assert sum(cases(module, torch.ones(2, 3, 4, 5), step=True).values()) == 2


def test_shares_are_of_a_pass_that_is_not_recorded(monkeypatch):
    """A made-up clock: every reading is a second later, so every operator takes one, and so does a plain pass."""
    monkeypatch.setattr(networks.time, "perf_counter", itertools.count().__next__)
    module = Of(lambda x: x.relu().mean((2, 3)).sum() + (x.sum((2, 3)) / 20).sum())
    forward, step = (record(Network("net", module, [torch.ones(2, 3, 4, 5)]), each) for each in (False, True))
    assert (forward.seconds, forward.share, step.seconds) == (1, 3, 1)
    # gradients: two unsqueezes, expand and division of the mean; of the sum the same but its division, and that
    assert step.share == 3 + 4 + 3 + 1


POOLS = st.sampled_from(sorted(IMAGE.keys() - {"in inference mode"}))


class Block(nn.Module):
    """A convolution and, beside it, pooling or a decoy, whose result is added where it can be."""

    def __init__(self, name, function, branch):
        super().__init__()
        self.name, self.function = name, function
        self.conv, self.branch = nn.Conv2d(3, 3, 3, padding=1), branch

    def forward(self, x):
        x = self.conv(x)
        results = [self.function(x), self.branch(x).sum()]
        return x + sum(
            each.sum() for result in results for each in (result if isinstance(result, tuple) else (result,))
        )


leaves = st.builds(lambda name: Block(name, IMAGE[name], nn.Identity()), POOLS) | st.builds(
    lambda name: Block(name, DECOYS[name], nn.Identity()), st.sampled_from(sorted(DECOYS))
)
blocks = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: nn.Sequential(*parts, *parts[:1]))
        | st.builds(lambda name, branch: Block(name, IMAGE[name], branch), POOLS, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(module=blocks, n=st.integers(1, 3), height=st.integers(4, 7), step=st.booleans())
def test_counts_are_those_of_hooks_on_known_sites(module, n, height, step):
    seen = Counter()

    def hook(block, _args, _out):
        if block.name in IMAGE:
            seen[next(name for name, each in module.named_modules() if each is block)] += 1

    handles = [block.register_forward_hook(hook) for block in module.modules() if isinstance(block, Block)]
    module.train(step)
    with torch.no_grad():
        module(torch.ones(n, 3, height, 6))
    for handle in handles:
        handle.remove()
    with contextlib.suppress(RuntimeError):  # "a floored sum" has no gradient, which is zero
        recorded = record(Network("net", module, [torch.ones(n, 3, height, 6)]), step)
        assert sum(each.count for each in recorded.cases) == seen.total()
        assert {each.shape for each in recorded.cases} <= {f"{n}x3x{height}x6"}
        assert {each.pass_ for each in recorded.cases} <= {"training" if step else "forward"}


def test_a_pass_that_fails_is_one_line():
    with pytest.raises(GapbenchError, match="the forward pass of net fails: RuntimeError: mat1 and mat2"):
        record(Network("net", nn.Linear(3, 2), [torch.ones(2, 4)]))
    with pytest.raises(
        GapbenchError, match="the training step of net fails: RuntimeError: no output depends on a weight"
    ):
        record(Network("net", nn.Identity(), [torch.ones(2, 4)]), step=True)
