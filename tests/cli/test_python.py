"""gapbench from Python: a run, its frames and page, a stored run again, and what changed between two."""

import subprocess
import sys

import pandas as pd
import pytest
import torch
from stored import keep, side, two_sides
from torch import nn

import gapbench
from gapbench.errors import GapbenchError, NothingMatchedError
from gapbench.store.store import Store

FEW = {"shapes": [(1, 4, 3, 3)], "dtypes": ["float32"], "layouts": ["contiguous"], "budget": 3}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_functions_and_modules_compete_beside_names(tmp_path):
    scale = 1 / 9

    def mine(x):
        return x.sum((2, 3), keepdim=True) * scale

    def wrong(x):
        return x.mean((2, 3), keepdim=True) + 1

    measured = gapbench.run("tutorial", ["adaptive", mine, wrong, nn.AdaptiveAvgPool2d(1)], tag="mine", **FEW)
    statuses = dict(zip(measured.results["implementation"], measured.results["status"], strict=True))
    assert statuses == {"mean": "ok", "adaptive": "ok", "mine": "ok", "wrong": "wrong", "AdaptiveAvgPool2d": "ok"}
    assert measured.winners["implementation"].isin([*statuses]).all()
    assert set(measured.samples["implementation"]) == {*statuses} - {"wrong"}
    assert measured.report(tmp_path / "pages").read_text(encoding="utf-8").count("AdaptiveAvgPool2d") > 1
    html = measured._repr_html_()
    assert measured.id in html
    assert "<table" in html
    assert gapbench.load("mine") == measured


def test_functions_of_a_script_are_measured_by_workers(tmp_path):
    (tmp_path / "helper.py").write_text("SCALE = 0.25\n")
    (tmp_path / "script.py").write_text(
        "import gapbench, helper\n"
        "def mine(x):\n    return x.sum((2, 3), keepdim=True) * helper.SCALE\n"
        "if __name__ == '__main__':\n"
        "    run = gapbench.run('tutorial', ['mean', mine], shapes=[(1, 4, 2, 2)], dtypes=['float32'], budget='2s')\n"
        "    print(sorted(run.results['implementation'] + ' ' + run.results['status']))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert "['mean ok', 'mine ok']" in done.stdout, done.stderr


def test_stored_runs_are_compared(tmp_path):
    store = Store(str(tmp_path / "results"))
    base, head = (keep(store, each) for each in two_sides(head={"changes": {"fast": 1.3}}))
    changed = gapbench.compare(gapbench.load(base), gapbench.load(head))
    verdicts = dict(zip(changed["implementation"], changed["verdict"], strict=True))
    assert isinstance(changed, pd.DataFrame)
    assert verdicts["fast"] == "regressed"
    assert verdicts["slow"] != "regressed"


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"shape": [(1, 4, 3, 3)]}, GapbenchError, "gapbench.run has no shape; it has shapes, dtypes"),
        ({"implementations": [lambda x: x]}, GapbenchError, "called <lambda> cannot be stored; define it with a name"),
        ({"implementations": [nn.Identity]}, GapbenchError, "Identity is not a function or module; name an instance"),
        ({"implementations": [torch.ones(1)]}, GapbenchError, "Tensor is not a function or module"),
        ({"implementations": ["men"]}, GapbenchError, "mean"),
        ({"suite": "tutorial", "expression": "nothing"}, NothingMatchedError, "nothing matches -k 'nothing'"),
        ({"budget": "soon"}, GapbenchError, "malformed duration 'soon'"),
    ],
)
def test_bad_input_names_the_culprit(arguments, kind, message):
    with pytest.raises(kind, match=message.replace("(", r"\(")):
        gapbench.run(**arguments)


def test_a_run_is_read_from_its_store_once(tmp_path):
    store = Store(str(tmp_path / "elsewhere"))
    run = gapbench.load(keep(store, side()), str(tmp_path / "elsewhere"))
    assert run.results is run.results
    with pytest.raises(GapbenchError, match="no run"):
        gapbench.load("latest", str(tmp_path / "nothing"))
    script = (
        "import sys; sys.modules['torch'] = None; import gapbench; "
        f"print(len(gapbench.load(store='{tmp_path}/elsewhere').winners))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "1\n"
