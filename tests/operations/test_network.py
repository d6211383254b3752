"""Whole networks as implementations: what is loaded, what is judged, and against what."""

import subprocess
import sys

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


@pytest.fixture
def target(tmp_path, monkeypatch):
    """Return a function that writes ``nets.py`` with a function ``make`` and returns its target."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(body):
        (tmp_path / "nets.py").write_text(f"import torch\nfrom torch import nn\n\n\ndef make():\n    {body}\n")
        return "nets.py:make"

    return write


def test_a_target_may_bring_its_inputs_by_position_or_by_name(target):
    assert load(target("return nn.Linear(3, 2), torch.ones(2, 3)"), (), None, None).args[0].shape == (2, 3)
    assert len(load(target("return nn.Bilinear(3, 3, 2), [torch.ones(2, 3)] * 2"), (), None, None).args) == 2
    assert [*load(target("return nn.Linear(3, 2), {'input': torch.ones(2, 3)}"), (), None, None).kwargs] == ["input"]
    assert load("nets.py:nn.Identity", [(2, 3)], None, None).args[0].dtype == torch.float32


def test_weights_and_inputs_are_converted_together(target):
    network = load(target("return nn.Conv2d(3, 4, 3)"), [(2, 3, 8, 8)], "bfloat16", "channels_last")
    tensors = [*network.module.parameters(), *network.args]
    assert {each.dtype for each in tensors} == {torch.bfloat16}
    assert network.args[0].is_contiguous(memory_format=torch.channels_last)
    assert network.module.weight.is_contiguous(memory_format=torch.channels_last)
    video = load(target("return nn.Conv3d(3, 4, 3), torch.ones(1, 3, 4, 5, 6)"), (), None, "channels_last")
    assert video.args[0].is_contiguous(memory_format=torch.channels_last_3d)
    assert load(target("return nn.Conv2d(3, 4, 3).double()"), [(2, 3, 8, 8)], None, None).args[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 3", "nets.py:make returns int; return an nn.Module, or a module and its inputs"),
        ("return nn.Linear(3, 2)", "nets.py:make returns no inputs; give their shapes, as in --input 8x3x224x224"),
        ("raise KeyError('x')", "nets.py:make gives no network: KeyError: 'x'"),
        ("raise SystemExit(3)", "nets.py:make gives no network: SystemExit: 3"),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "gives no network: RuntimeError: torchvision was built for another torch; install one",
        ),
    ],
)
def test_a_target_that_gives_no_network_says_why(target, body, reason):
    with pytest.raises(GapbenchError) as raised:
        load(target(body), (), None, None)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nets.py", "malformed target 'nets.py': write FILE.py:CALLABLE or package.module:CALLABLE"),
        ("nets.py:other", "nets.py:other gives no network: AttributeError: "),
        ("none.py:make", "none.py:make gives no network: FileNotFoundError: "),
        ("no_such_package.nets:make", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("math:sqrt", "math:sqrt gives no network: TypeError: "),
        ("math:pi", "math:pi gives no network: TypeError: 'float' object is not callable"),
    ],
)
def test_a_target_that_is_not_there_says_what_is_missing(target, name, reason):
    target("return nn.Linear(3, 2)")
    with pytest.raises(GapbenchError) as raised:
        load(name, (), None, None)
    assert reason in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_networks_of_packages_are_found_from_the_current_folder(target, tmp_path):
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "small.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.AdaptiveAvgPool2d(1)\n"
    )
    command = [sys.executable, "-m", "gapbench", "model", "record", "zoo.small:make", "--input", "2x3x4x4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 pooling call in 1 kind" in done.stdout, done.stderr
