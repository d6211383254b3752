"""Files that put other pooling into a network: what is chosen, what is replaced, and what stays."""

import copy
import itertools
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stored import side
from torch import nn

from gapbench import operations
from gapbench.errors import GapbenchError
from gapbench.operations.network import Network
from gapbench.profiling import patches
from gapbench.profiling.networks import record
from gapbench.profiling.patches import Choice, choose, own, pooling_plans, source
from gapbench.statistics.stats import Interval
from gapbench.workloads.case_lists import ListedCase, Site
from gapbench.workloads.cases import Case
from gapbench.workloads.suites import import_file

SHAPE = (2, 3, 4, 5)


class Of(nn.Module):
    """A network whose code pools by a function, beside a weight."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, x):
        return self.function(x * self.weight)


@pytest.fixture
def written(tmp_path):
    """Import the file for some choices, whose pooling adds 100, so that what is replaced can be told."""

    def write(*choices, marked=True):
        path = tmp_path / "pooled.py"
        text = source(choices, "nets.py:Net", "a CPU")
        path.write_text(text.replace("    return x.", "    return 100 + x.") if marked else text)
        return import_file("pooled_in_test", path)

    yield write
    sys.modules.pop("pooled_in_test", None)


def choice(case=None, module="", implementation="sum_scale", spelling="mean"):
    site = Site(module, "nets.py:3", spelling)
    return Choice(case or Case(SHAPE), own(site), (site,), implementation, Interval(0.5, 0.4, 0.6))


SPELLINGS = {
    "mean": lambda x: x.mean((2, 3)),
    "mean, kept, in the other order": lambda x: torch.mean(x, dim=(-1, 2), keepdim=True),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive, a pair": lambda x: F.adaptive_avg_pool2d(x, (1, 1)),
    "window": lambda x: F.avg_pool2d(x, x.shape[2:]),
    "a tuple as window": lambda x: F.avg_pool2d(x, kernel_size=(4, 5), stride=1),
}
OTHERS = {
    "one dimension": lambda x: x.mean(2),
    "channels": lambda x: x.mean(1),
    "everything": lambda x: x.mean(),
    "another dtype": lambda x: x.mean((2, 3), dtype=torch.float64),
    "2x2": lambda x: F.adaptive_avg_pool2d(x, 2),
    "a smaller window": lambda x: F.avg_pool2d(x, 2),
    "a padded window": lambda x: F.avg_pool2d(x, (4, 5), padding=1),
    "own divisor": lambda x: F.avg_pool2d(x, x.shape[2:], divisor_override=3),
    "another call": lambda x: x.relu(),
}


@pytest.mark.parametrize("function", SPELLINGS.values(), ids=SPELLINGS)
def test_a_call_is_replaced_however_it_is_spelt(written, function):
    x = torch.randn(SHAPE)
    model = Of(function).requires_grad_(False)
    expected = model(x)
    assert written(choice()).apply(model) is model
    torch.testing.assert_close(model(x), expected + 100)
    torch.testing.assert_close(Of(function)(x), expected)  # no other network


@pytest.mark.parametrize("function", OTHERS.values(), ids=OTHERS)
def test_what_is_no_global_average_stays(written, function):
    x = torch.randn(SHAPE)
    torch.testing.assert_close(written(choice()).apply(Of(function).requires_grad_(False))(x), function(x))


@pytest.mark.parametrize(
    "x",
    [
        torch.ones(3, 3, 4, 5),
        torch.ones(SHAPE, dtype=torch.float64),
        torch.ones(SHAPE).contiguous(memory_format=torch.channels_last),
        torch.ones(2, 3, 4, 10)[..., ::2],
        torch.ones(SHAPE).requires_grad_(),
        torch.ones(2, 3, 20),
    ],
    ids=["shape", "dtype", "layout", "strides", "gradient", "rank"],
)
def test_other_inputs_get_the_original(written, x):
    model = Of(lambda x: x.mean([*range(2, x.dim())])).requires_grad_(False)
    model.weight.data = model.weight.data.to(x.dtype)
    model.forward = lambda x: model.function(x)  # a product would make other strides
    assert (written(choice()).apply(model)(x) == 1).all()


def test_a_replacement_for_training_is_for_recorded_gradients_only(written):
    model = written(choice(Case(SHAPE, pass_="training"))).apply(Of(SPELLINGS["mean"]))
    x = torch.ones(SHAPE)
    assert (model(x) == 101).all()
    model(x).sum().backward()
    assert model.weight.grad.item() == pytest.approx(6)
    with torch.no_grad():
        assert (model(x) == 1).all()


def test_tokens_are_averaged_over_their_dimension(written):
    case = Case((2, 6, 7), layout="channels_last")
    model = written(choice(case)).apply(Of(lambda x: x.mean(1, keepdim=True)).requires_grad_(False))
    x = torch.randn(2, 7, 6)
    torch.testing.assert_close(model(x), x.mean(1, keepdim=True) + 100)


def test_modules_that_pool_are_replaced_and_weights_keep_their_names(written):
    pool = nn.AdaptiveAvgPool2d(1)
    model = nn.Sequential(pool, nn.Sequential(nn.Identity(), pool), nn.Flatten(), nn.Linear(3, 2))
    names, x = [*model.state_dict()], torch.randn(SHAPE)
    patched = written(choice(module="0", spelling="adaptive_avg_pool2d"), marked=False).apply(model)
    assert [*patched.state_dict()] == names
    assert type(patched[0]).__name__ == "Pool"
    assert patched[1][1] is pool  # shared, but called there with other inputs
    torch.testing.assert_close(patched[0](x), x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(patched[0](x[:1]), x[:1].mean((2, 3), keepdim=True))
    assert patched[0].original is pool


def test_a_patched_network_can_be_copied_compiled_and_patched_once(written):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = Of(SPELLINGS["mean"])

        def forward(self, x):
            return self.a(x) + self.b(x)

    model = Twice().requires_grad_(False)
    model = written(choice(module="a"), choice(module="b")).apply(model)
    x = torch.ones(SHAPE)
    assert (model(x) == 202).all()
    assert (copy.deepcopy(model)(x) == 202).all()
    torch._dynamo.reset()
    assert (torch.compile(model, backend="eager")(x) == 202).all()
    assert isinstance(model.a, Of)


@pytest.mark.parametrize("name", patches.REPLACEMENTS)
@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 3, 4, 5), (2, 3, 2, 3, 4)], ids=["1d", "2d", "3d"])
def test_the_code_of_every_replacement_averages_in_every_rank(name, shape):
    x = torch.randn(shape, dtype=torch.float64)
    code = choice(Case(shape), implementation=name).code
    average = eval(code, {"x": x, "F": F, "torch": torch})  # noqa: S307
    torch.testing.assert_close(average, x.mean([*range(2, len(shape))], keepdim=True), rtol=1e-6, atol=1e-6)
    assert operations.builtin(name) is not None


def test_compiled_replacements_have_code_of_their_own(tmp_path):
    cases = [Case((n, 3, 4, 5)) for n in (2, 4)]
    text = source([choice(case, implementation="compiled_mean") for case in cases], "nets.py:Net", "a CPU")
    assert text.count("@torch.compile(dynamic=False)\ndef compiled_mean_") == 2  # one shared would meet the limit
    assert "gapbench" not in text.split('"""')[2]
    compile(text, "pooled.py", "exec")


LISTED = ListedCase(
    "2x3x4x5", count=3, sites=(Site("a", "n.py:1", "adaptive_avg_pool2d", 2), Site("", "n.py:2", "mean"))
)


def variant(module=None):
    network = Network("nets.py:make", module or Of(SPELLINGS["mean"]), [torch.ones(SHAPE)])
    return patches.variant(network)


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def chosen(threads=(2,), listed=LISTED, **changes):
    cases = [Case(SHAPE, threads=count) for count in threads]
    run = side(cases=cases, names=("mean", "adaptive", "avg_pool", "triton"), changes=changes)
    return [(each.own, each.implementation) for each in choose(variant(), [listed], run.results, run.samples)]


def test_each_spelling_gets_what_is_shown_to_be_faster_than_it():
    assert chosen(adaptive=2) == [("adaptive", "mean")]  # 1, 4, 3 and 4: mean is the fastest itself
    assert chosen(avg_pool=0.2) == [("adaptive", "avg_pool"), ("mean", "avg_pool")]
    assert chosen(adaptive=0.5) == []  # a tie
    assert chosen(triton=0.01, adaptive=0.3, avg_pool=2) == [("mean", "adaptive")]  # triton needs more than PyTorch


def test_what_stopped_early_as_slower_is_replaced_by_the_bound():
    """A squeeze that took ten times as long ran in three rounds, which give no interval: it was left as it is."""
    run = side(cases=[Case(SHAPE, threads=2)], names=("mean", "adaptive"), changes={"adaptive": 5})
    samples = run.samples[(run.samples["implementation"] == "mean") | (run.samples["round"] < 3)]
    results = run.results.assign(stopped_by=run.results["implementation"].map({"adaptive": "slower", "mean": "target"}))
    (choice,) = choose(variant(), [LISTED], results, samples)
    assert (choice.own, choice.implementation, choice.ratio.low) == ("adaptive", "mean", None)
    assert 0.1 < choice.ratio.high < 0.2
    assert choice.evidence.startswith("mean: 0.10 (at most 0.1")
    assert [*choose(variant(), [LISTED], results.assign(stopped_by="target"), samples)] == []


def test_results_of_the_networks_threads_count_first():
    assert chosen(threads=(1, 2, 8), adaptive=2) == [("adaptive", "mean")]
    case = next(iter(choose(variant(), [LISTED], *frames(threads=(1, 8))))).case
    assert case.threads == 1


def frames(threads):
    run = side(cases=[Case(SHAPE, threads=count) for count in threads], names=("mean", "adaptive"))
    return run.results, run.samples


def test_chains_and_cases_that_were_not_measured_are_left():
    chain = ListedCase("2x3x4x5", sites=(Site("", None, "sum, div"),))
    assert chosen(listed=chain) == []
    assert chosen(listed=ListedCase("9x3x4x5", sites=LISTED.sites)) == []


def test_a_sum_in_float16_may_overflow():
    assert "sum_scale" in patches.candidates(LISTED)
    assert not [name for name in patches.candidates(ListedCase("2x3x4x5", "float16")) if "sum_scale" in name]


def test_sites_say_what_replaces_them():
    run = side(cases=[Case(SHAPE, threads=2)], names=("mean", "adaptive"))
    original = variant()
    choices = [*choose(original, [LISTED], run.results, run.samples)]
    described = patches.describe(original, "a run", [LISTED], choices, run.results)
    assert [(site.module, site.own, site.implementation) for site in described.sites] == [
        ("a", "adaptive", "mean"), ("", "mean", None)
    ]  # fmt: skip
    assert described.sites[0].ratio == pytest.approx(0.5, rel=0.05)
    assert (described.target, described.run) == ("nets.py:make", "a run")


def test_the_pooling_is_measured_as_the_network_calls_it():
    (plan,) = pooling_plans(variant(), [LISTED])
    assert (plan.suite, plan.case.id, plan.case.weight) == ("make.json", "2x3x4x5-float32-contiguous-cpu-forward-t2", 3)
    assert [*plan.specs] == [*patches.REPLACEMENTS]


def test_an_exported_program_cannot_be_changed():
    exported = torch.export.export(Of(SPELLINGS["mean"]), (torch.ones(SHAPE),)).module()
    with pytest.raises(GapbenchError, match="is an exported program, which cannot be changed; name the module before"):
        variant(exported)


def test_what_record_finds_is_what_a_patch_replaces(written):
    """Every site of a network with each spelling, as a module or in its code, is found and replaced."""

    class All(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(map(Of, SPELLINGS.values()))
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.requires_grad_(False)

        def forward(self, x):
            return torch.stack([part(x).flatten() for part in (*self.parts, self.pool)])

    (listed,) = record(Network("net", All(), [torch.ones(SHAPE)])).cases
    assert all(map(own, listed.sites))
    choices = [Choice(Case(SHAPE), own(site), (site,), "sum_scale", Interval(0.5)) for site in listed.sites]
    assert (written(*choices).apply(All())(torch.ones(SHAPE)) == 101).all()


def test_the_top_output_of_both_networks_is_compared(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))\n"
    )
    (tmp_path / "flip.py").write_text(
        "def apply(model):\n    model[2].weight.data *= -1\n    model[2].bias.data *= -1\n"
    )
    (tmp_path / "same.py").write_text("def apply(model):\n    pass\n")
    clock = itertools.count()
    monkeypatch.setattr(patches.time, "perf_counter", lambda: float(next(clock)))
    original = patches.Variant(f"{tmp_path}/nets.py:make", Case(SHAPE).id, (SHAPE,), output=(2, 4))
    same = patches.agreement(original, patches.structs.replace(original, patch=str(tmp_path / "same.py")))
    flipped = patches.agreement(original, patches.structs.replace(original, patch=str(tmp_path / "flip.py")))
    assert same[0] == same[1] > 2
    assert flipped == (0, same[1])
    assert np.isfinite(same[1])
