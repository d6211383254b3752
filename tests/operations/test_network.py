"""Whole networks as implementations: what is loaded, what is judged, and against what."""

import pytest
import torch
from msgspec import structs
from torch import nn

from gapbench import operations
from gapbench.errors import GapbenchError
from gapbench.operations.network import Network, Variant, WithInput, load
from gapbench.workloads import oracle
from gapbench.workloads.cases import Case

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout()
        self.head, self.unused = nn.Linear(8, 5), nn.Linear(2, 2)
    def forward(self, x, scale=None):
        y = self.head(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))
        return {"ids": torch.zeros(3, dtype=torch.int64), "logits": y if scale is None else y * scale}

def named():
    return Net(), {"scale": torch.full((1,), 2.0), "x": torch.ones(2, 3, 6, 6)}

def tokens():
    return nn.Embedding(5, 4), torch.zeros(2, 3, dtype=torch.int64)
"""
CASE = Case((2, 3, 6, 6), operation="network")


@pytest.fixture(autouse=True)
def _nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "nets.py").write_text(NETS)


def variant(**fields):
    return Variant("nets.py:Net", CASE.id, ((2, 3, 6, 6),), output=(2, 5), **fields)


def examined(case=CASE, **fields):
    implementation = operations.load(variant(**fields).spec)
    return oracle.examine(case, implementation.prepare(case), 0, implementation.truth).reason


def patch(tmp_path, body):
    (tmp_path / "patch.py").write_text(f"def apply(model):\n    {body}\n")
    return str(tmp_path / "patch.py")


@pytest.mark.parametrize("pass_", ["forward", "training"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_is_right_by_its_float64_answer(pass_, dtype):
    case = structs_case(dtype, pass_)
    assert examined(case, dtype=dtype) is None


def structs_case(dtype, pass_):
    return Case((2, 3, 6, 6), dtype, pass_=pass_, operation="network")


@pytest.mark.parametrize("body", ["model.head.weight.data *= 1.1", "model.conv.weight.data[0] = 0"])
def test_a_patch_that_changes_the_outputs_is_wrong(tmp_path, body):
    file = patch(tmp_path, body)
    assert examined(patch=file).startswith("wrong at (n, c) = ")
    assert examined(structs_case("bfloat16", "forward"), dtype="bfloat16", patch=file).startswith("wrong at")


def test_the_original_and_its_patch_have_one_expected_output(tmp_path):
    file = patch(tmp_path, "pass")
    specs = [variant(patch=each, compiled=compiled).spec for each in (None, file) for compiled in (False, True)]
    assert [operations.load(spec).name for spec in specs] == [
        "original", "compiled_original", "patched", "compiled_patched"
    ]  # fmt: skip
    assert len({id(operations.truth(spec)) for spec in specs}) == 1
    assert not any(map(operations.is_user_spec, specs))
    assert all(map(operations.taken, specs))


def test_other_inputs_stay_the_networks_own_and_the_first_floats_are_judged():
    whole = WithInput(load("nets.py:named", (), None, None)).eval()
    assert whole.x.shape == (2, 3, 6, 6)
    x = torch.randn(2, 3, 6, 6)
    plain = whole.network(x)["logits"]
    torch.testing.assert_close(whole(x), 2 * plain)
    assert whole.double()(x.double()).dtype == torch.float64  # the scale as well


def test_dropout_stays_off_in_training_and_batch_statistics_are_on():
    whole = WithInput(load("nets.py:Net", ((2, 3, 6, 6),), None, None)).train()
    assert (whole.network.training, whole.network.norm.training, whole.network.drop.training) == (True, True, False)


def test_a_network_of_token_ids_has_no_input_to_measure_with():
    with pytest.raises(GapbenchError, match="nets.py:tokens has no input of 3 to 5 dimensions with floats"):
        WithInput(load("nets.py:tokens", (), None, None))


def test_every_process_makes_the_same_weights():
    torch.manual_seed(5)
    first = load("nets.py:Net", ((2, 3, 6, 6),), None, None).module.head.weight
    assert torch.equal(first, load("nets.py:Net", ((2, 3, 6, 6),), None, None).module.head.weight)


def test_a_compiled_network_must_have_been_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    implementation = operations.load(structs.replace(variant(), compiled=True).spec)
    implementation.prepare(CASE)(torch.ones(CASE.shape))
    assert implementation.proof() == "torch.compile captured no graph: the network ran eagerly"


def test_a_network_moves_with_its_inputs():
    whole = WithInput(Network("net", nn.Flatten(), [torch.ones(1, 2, 3)]))
    assert whole.to(torch.bfloat16).x.dtype == torch.bfloat16
