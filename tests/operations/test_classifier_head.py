import pytest
import torch
from torch import nn

from gapbench import operations
from gapbench.operations.classifier_head import CLASSES, HEADS
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import make_call

VGG16 = Case((1, 512, 7, 7), operation="classifier_head")
RESNET50 = Case((1, 2048, 7, 7), operation="classifier_head")
SMALL = (2, 3, 9, 7)


@pytest.mark.parametrize(
    ("name", "case", "weights"),
    [
        ("flatten_three_linear", VGG16, 123_642_856),
        ("gap_linear", VGG16, 513_000),
        ("gap_linear", RESNET50, 2_049_000),
        ("flatten_linear", RESNET50, 100_353_000),
        ("adaptive7_three_linear", VGG16, 123_642_856),
    ],
)
def test_heads_have_the_parameters_that_are_claimed_of_them(name, case, weights):
    """Counted by hand from torchvision's definitions: VGG-16's classifier, ResNet-50's fc."""
    assert operations.parameters(name, case) == weights


@pytest.mark.parametrize("name", HEADS)
def test_the_parameters_that_are_told_are_those_that_are_made(name):
    case = Case(SMALL, operation="classifier_head")
    made = operations.load(name).prepare(case)
    assert isinstance(made, nn.Module)
    assert sum(weights.numel() for weights in made.parameters()) == operations.parameters(name, case)


def test_weights_are_the_same_in_every_process_and_differ_within_a_layer():
    case = Case(SMALL, operation="classifier_head")
    first, second = (operations.load("flatten_linear").prepare(case) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert next(first.parameters()).unique().numel() > 1000


def test_every_hidden_unit_is_far_from_where_relu_bends():
    """Else rounding would decide which gradients pass, and no oracle could judge them."""
    case = Case((4, 16, 7, 7), operation="classifier_head")
    for seed in range(3):
        activity = inputs.sample(case, seed)
        for layer in operations.load("flatten_three_linear").prepare(case):
            if isinstance(layer, nn.ReLU):
                assert activity.abs().min() > 1
                assert 0.4 < (activity > 0).float().mean() < 0.6
            activity = layer(activity)
        assert activity.shape == (4, CLASSES)


def test_an_update_is_adams_and_leaves_the_weights_where_they_were(monkeypatch):
    made = []

    class Watched(torch.optim.Adam):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    case = Case(SMALL, pass_="update", operation="classifier_head")
    head = operations.load("gap_linear").prepare(case)
    before = [weights.detach().clone() for weights in head.parameters()]
    call = make_call(case, head, inputs.sample(case, 0), torch.ones(2, CLASSES))
    for _ in range(3):
        assert torch.equal(call(), before[0])
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), before, strict=True))
    (optimizer,) = made
    for weights in head.parameters():
        state = optimizer.state[weights]
        assert state["step"] == 3
        torch.testing.assert_close(state["exp_avg"], weights.grad * (1 - 0.9**3))


def test_training_computes_and_applies_all_gradients():
    case = Case(SMALL, pass_="training", operation="classifier_head")
    head = operations.load("flatten_three_linear").prepare(case)
    make_call(case, head, inputs.sample(case, 0), torch.ones(2, CLASSES))()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in head.parameters())


def test_forward_records_no_graph():
    case = Case(SMALL, operation="classifier_head")
    head = operations.load("gap_linear").prepare(case)
    assert not make_call(case, head, inputs.sample(case, 0), torch.ones(2, CLASSES))().requires_grad


@pytest.mark.parametrize("spoilt", ["weight", "bias"])
def test_one_wrong_weight_is_seen(spoilt):
    case = Case(SMALL, operation="classifier_head")
    implementation = operations.load("gap_linear")
    head = implementation.prepare(case)
    with torch.no_grad():
        getattr(head[-1], spoilt).view(-1)[5] += 0.1
    assert oracle.examine(case, head, 0, implementation.truth).reason is not None


def test_a_flattened_head_takes_one_size_only():
    head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 10 * 10, 4))
    head(torch.ones(2, 8, 10, 10))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        head(torch.ones(2, 8, 7, 7))
