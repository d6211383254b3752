import json

import pytest
from click.testing import CliRunner

from gapbench.cli import gapbench
from gapbench.errors import GapbenchError
from gapbench.profiling import network
from gapbench.stats import Interval


@pytest.fixture
def asked(monkeypatch):
    """What would be measured; every way takes the time that the length of its name says."""
    calls = []

    def measure(name, case, specs, reference, budget, observe):
        calls.append((name, case, dict(specs), reference, budget))
        observe(1)
        ways = [network.Way(one, 6, Interval(len(one) * 1e-3), Interval(len(one) / 4, 0.1, 9), 0.1) for one in specs]
        return network.Steps(name, case, "host", [(1, 8, 7, 7)], reference, ways)

    monkeypatch.setattr(network, "measure", measure)
    return calls


def run(*arguments):
    return CliRunner().invoke(gapbench, ["profile", *arguments])


def test_both_steps_are_taken_with_the_usual_ways(asked):
    done = run("--network", "resnet50-like", "--batch", "2", "--layout", "channels_last", "--json", "--budget", "5s")
    document = json.loads(done.stdout)
    assert [one["step"] for one in document["steps"]] == ["forward", "training"]
    assert [case.shape for _, case, *_ in asked] == [(2, 3, 224, 224)] * 2
    (_, case, specs, reference, budget), _ = asked
    assert (case.layout, reference, budget) == ("channels_last", "mean", 5)
    assert set(specs) == {"mean", "adaptive", "sum_scale", "avg_pool", "compiled_mean"}


def test_ways_can_be_chosen_and_the_reference_is_always_there(asked, tmp_path):
    (tmp_path / "mine.py").write_text("def pool(x): return x.mean((2, 3), keepdim=True)\n")
    run("--network", "inception-like", "--impl", "matmul", "--impl", f"{tmp_path / 'mine.py'}:pool")
    assert list(asked[0][2]) == ["mean", "matmul", "pool"]
    run("--network", "inception-like", "--impl", f"{tmp_path / 'mine.py'}:pool")
    assert list(asked[2][2]) == ["mean", "pool"]


def test_the_terminal_says_what_the_network_is_and_what_is_saved(asked):
    done = run("--network", "se-resnet50-like")
    assert "squeeze and excitation" in done.stdout
    assert "no other way is shown" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--network", "resnet"], "resnet50-like"),
        (["--network", "resnet50-like", "--static"], "neither CASE nor --static"),
        (["--network", "resnet50-like", "8x64x7x7-float32-contiguous-cpu-forward-t1"], "neither CASE nor --static"),
        (["--network", "resnet50-like", "--dtype", "int7"], "int7"),
        (["--network", "resnet50-like", "--impl", "nobody"], "nobody"),
    ],
)
def test_bad_input_is_one_line(asked, arguments, words):
    done = run(*arguments)
    assert isinstance(done.exception, GapbenchError)
    assert words in str(done.exception)
    assert not asked
