"""``gapbench model`` from the command line: what it prints and writes, and what it refuses."""

import json
import subprocess
import sys

import pytest
import torch
from stored import keep, side

from gapbench.store.store import Store
from gapbench.workloads.cases import Case

NETS = """
from torch import nn
import torch

class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
    def forward(self, x):
        x = self.conv(x)
        return x * x.mean((2, 3), keepdim=True)

def make():
    print("made")
    return nn.Sequential(Squeeze(), nn.AdaptiveAvgPool2d(1))

def flat():
    return nn.Flatten(), torch.ones(2, 3, 4, 4)

def frozen():
    return make().requires_grad_(False)

def norm():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
"""
RECORD = ["model", "record", "nets.py:make", "--input", "2x3x4x4"]


@pytest.fixture(autouse=True)
def _nets(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.setattr("gapbench.profiling.networks._PASSES", 1)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_a_network_becomes_a_list_that_is_a_suite(gapbench, suffix):
    code, out, err = gapbench(*RECORD, "-o", f"pooling{suffix}")
    assert (code, err) == (0, "made\n")
    assert "2 pooling calls in 1 kind, " in out
    assert " % of a forward pass, " in out
    assert out.endswith(f" % of a training step\nlist pooling{suffix}; measure it with: gapbench run pooling{suffix}\n")
    code, out, _ = gapbench("list", "cases", f"pooling{suffix}", "--json")
    (case,) = json.loads(out)
    assert case["name"] == "2x4x4x4-float32-contiguous-cpu-forward-t1"
    assert (case["calls"], case["label"]) == (2, "0 and 1 other")


def test_json_is_the_list_and_nothing_else(gapbench, tmp_path):
    code, out, _ = gapbench(*RECORD, "--train", "--dtype", "bfloat16", "--layout", "channels_last", "--json")
    document = json.loads(out)
    (case,) = document["cases"]
    assert (code, document["schema"], document["target"]) == (0, 1, "nets.py:make")
    assert (case["dtype"], case["layout"], case["pass"], case["count"]) == ("bfloat16", "channels_last", "training", 2)
    assert [site["source"] for site in case["sites"]] == ["nets.py:11", None]
    assert document["training_step"]["share"] == pytest.approx(case["share"])
    (tmp_path / "again.json").write_text(out)
    assert gapbench("list", "cases", "again.json")[0] == 0


def test_a_network_without_a_training_step_is_recorded_with_a_warning(gapbench):
    code, out, err = gapbench("model", "record", "nets.py:frozen", "--input", "2x3x4x4")
    assert code == 0
    assert "training step" not in out
    assert "warning: the training step of nets.py:frozen fails: RuntimeError: no output depends on a weight" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nets.py:flat"], 5, "nets.py:flat averages nothing over all spatial positions here: nothing to change"),
        (["nets.py:make"], 2, "returns no inputs; give their shapes, as in --input 8x3x224x224"),
        (["nets.py:make", "--input", "2x5x4x4"], 2, "the forward pass of nets.py:make fails: RuntimeError: "),
        (["nets.py:norm", "--input", "1x3x4x4", "--train"], 2, "the training step of nets.py:norm fails: ValueError: "),
        (["nets.py:none"], 2, "nets.py:none gives no network: AttributeError: "),
        (["nets.py"], 2, "malformed target 'nets.py': write FILE.py:CALLABLE or package.module:CALLABLE"),
        (["nets.py:make", "--input", "2x"], 2, "malformed input '2x': write its sizes, as in 8x3x224x224"),
        (
            ["nets.py:make", "--input", "2x3x4x4", "-o", "a.txt"],
            2,
            "cannot write 'a.txt'; name a file that ends in .json",
        ),
        (
            ["nets.py:make", "--input", "2x3x4x4", "-o", "no/a.json"],
            2,
            "cannot write 'no/a.json': No such file or direct",
        ),
        (["nets.py:make", "--dtype", "int8"], 2, "'int8' is not one of 'float32'"),
    ],
)
def test_bad_input_is_a_line_with_culprit_and_remedy(gapbench, arguments, code, message):
    got, out, err = gapbench("model", "record", *arguments)
    lines = [line for line in err.splitlines() if line.startswith("gapbench: ")]
    assert (got, out) == (code, "")
    assert len(lines) == 1
    assert message in lines[0]


APPLY = ["model", "apply", "nets.py:Squeeze", "--input", "2x3x64x64"]


def pooling(passes=("forward",), **changes):
    """Store a run in which ``changes`` make replacements of the network's mean faster."""
    cases = [Case((2, 4, 64, 64), pass_=pass_, threads=torch.get_num_threads()) for pass_ in passes]
    return keep(Store("results"), side(cases=cases, names=("mean", "adaptive", "sum_scale"), changes=changes))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_network_is_patched_measured_and_written(gapbench, tmp_path):
    run = pooling(sum_scale=0.01)
    code, out, err = gapbench(*APPLY, "--run", run, "--budget", "3s", "--eager", "--json", "-o", "pooled.py")
    document = json.loads(out)
    assert code == 0, err
    (site, *_), effects = document["network"]["sites"], document["effects"]
    assert (site["own"], site["implementation"], document["network"]["run"]) == ("mean", "sum_scale", run)
    assert [(each["pass_"], each["compiled"]) for each in effects] == [("forward", False), ("training", False)]
    assert {each["verdict"] for each in effects} <= {"faster", "slower", "same", "inconclusive"}
    assert all(each["error"] <= 1e-5 for each in effects)
    assert document["top1"] is None  # the output is an image
    assert (document["file"] is not None) == (tmp_path / "pooled.py").exists()
    assert (document["file"] is not None) == any(each["verdict"] == "faster" for each in effects)
    stored = Store("results").describe(document["run"])
    assert (stored.network.target, stored.suites) == ("nets.py:Squeeze", ("Squeeze",))


def test_a_run_of_something_else_is_refused(gapbench):
    code, _, err = gapbench(*APPLY, "--run", keep(Store("results"), side()))
    assert code == 5
    assert "measured none of nets.py:Squeeze's pooling; leave --run out, or name another" in err


def test_nothing_to_change_is_an_answer(gapbench, tmp_path):
    code, out, _ = gapbench(*APPLY, "--run", pooling(("forward", "training")), "-o", "pooled.py")
    assert code == 0
    assert out.splitlines()[-1] == "nothing to change: none of 2 sites has a faster implementation"
    assert not (tmp_path / "pooled.py").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([*APPLY, "-o", "pooled.txt"], 2, "cannot write 'pooled.txt'; name a file that ends in .py"),
        ([*APPLY, "-o", "nets.py"], 2, "'nets.py' is not a file of gapbench model apply, and is kept; name another"),
        (["model", "apply", "nets.py:flat"], 5, "averages nothing over all spatial positions here: nothing to change"),
        ([*APPLY, "--run", "none"], 2, "no run"),
    ],
)
def test_bad_input_of_apply_is_a_line_with_culprit_and_remedy(gapbench, arguments, code, message):
    got, _, err = gapbench(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("gapbench: ")]
    assert (got, len(lines)) == (code, 1)
    assert message in lines[0]


def test_a_written_file_needs_no_gapbench(tmp_path):
    from gapbench.profiling import patches
    from gapbench.statistics.stats import Interval
    from gapbench.workloads.case_lists import Site

    choice = patches.Choice(Case((2, 4, 4, 4)), "mean", (Site("", None, "mean"),), "adaptive", Interval(0.5))
    (tmp_path / "pooled.py").write_text(patches.source([choice], "nets.py:Squeeze", "a CPU"))
    script = (
        "import sys; sys.modules['gapbench'] = None; import pooled, nets, torch; m = nets.Squeeze().eval(); "
        "x = torch.ones(2, 3, 4, 4); y = m(x); assert torch.allclose(pooled.apply(m)(x), y)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
