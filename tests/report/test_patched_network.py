"""What a run of a patched network says: in words, and on its page."""

import re

import pytest
from msgspec import structs, to_builtins
from stored import side

from gapbench.analysis import summary
from gapbench.report import html, patched_network
from gapbench.report.loaded_run import Stored
from gapbench.report.patched_network import conclusion, effects, facts, sites
from gapbench.report.redaction import public
from gapbench.store.run import PatchedNetwork, PooledSite
from gapbench.workloads.cases import Case

FORWARD = Case((2, 3, 8, 8), operation="network", threads=2)
TRAINING = Case((2, 3, 8, 8), operation="network", pass_="training", threads=2)
NAMES = ("original", "patched", "compiled_original", "compiled_patched")
# what `side` takes for a name is its place times 10 us; these changes make all alike
ALIKE = {"patched": 1 / 2, "compiled_original": 1 / 3, "compiled_patched": 1 / 4}

POOL = "2x64x56x56-bfloat16-channels_last-cpu-forward-t2"
SITES = (
    PooledSite(case=POOL, module="a.pool", own="adaptive", implementation="mean", ratio=0.4, share=0.1, count=2),
    PooledSite(case=POOL, module="b.pool", own="adaptive", implementation="mean", ratio=0.4, share=0.1),
    PooledSite(case=POOL.replace("64", "32"), module="", spelling="sum, div", share=0.2),
)
NETWORK = PatchedNetwork(target="nets.py:make", run="earlier", sites=SITES, totals={"mean": 2e-3, "adaptive": 1e-3})


def measured(cases=(FORWARD,), statuses=None, **changes):
    changes = {**ALIKE, **{name: ALIKE[name] * change for name, change in changes.items()}}
    run = side(cases=cases, names=NAMES, changes=changes, statuses=statuses)
    errors = run.results["implementation"].map(lambda name: 2e-3 if "patched" in name else 1e-3)
    return run.results.assign(max_error=errors.where(run.results["status"] == "ok")), run.samples


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.9, "faster"), (1.1, "slower"), (1.0, "same"), (0.996, "faster"), (1.009, "slower")]
)
def test_a_pass_is_faster_slower_or_the_same(change, verdict):
    eager, compiled = effects(*measured(patched=change))
    assert (eager.pass_, eager.compiled, eager.verdict) == ("forward", False, verdict)
    assert eager.ratio == pytest.approx(change, rel=0.005)
    assert (compiled.compiled, compiled.verdict) == (True, "same")  # against the compiled original
    assert (eager.error, eager.own_error) == (2e-3, 1e-3)


def test_what_failed_is_not_compared():
    (eager, compiled) = effects(*measured(statuses={"compiled_patched": "wrong"}))
    assert (eager.verdict, compiled.verdict) == ("same", "not measured")
    assert compiled.reason == "compiled_patched is wrong: it is wrong"
    assert patched_network.effect(compiled) == ("forward, compiled", "compiled_patched is wrong: it is wrong")


def test_each_effect_is_a_sentence():
    terms = dict(facts([*effects(*measured((FORWARD, TRAINING), patched=0.9, compiled_patched=1.02))], (7, 8)))
    assert re.fullmatch(r"[\d.]+ µs → [\d.]+ µs  -(9|10)\.\d % \[-10\.\d, -9\.\d\]", terms["forward"])
    assert terms["training step"].endswith("]")
    assert re.search(r"\+[12]\.\d % \[\+[\d.]+, \+2\.\d\]$", terms["forward, compiled"])
    assert terms["outputs"] == "largest error 2.0e-03 of the largest, 1.0e-03 without the patch, same top-1 in 7 of 8"
    assert terms["gradients"] == "largest error 2.0e-03 of the largest, 1.0e-03 without the patch"
    (same, _) = effects(*measured())
    assert patched_network.effect(same)[1].startswith("no difference (within 0.")


def test_too_few_rounds_decide_nothing():
    results, samples = measured(patched=0.9)
    (eager, _) = effects(results, samples[samples["round"] < 3])
    assert eager.verdict == "inconclusive"
    assert re.search(r"  -[\d.]+ %; no difference shown$", patched_network.effect(eager)[1])


def test_the_conclusion_says_whether_it_is_worth_it():
    faster, same = effects(*measured(patched=0.9))
    assert conclusion(NETWORK, [faster, same]) == "2 of 3 sites worth changing: faster forward"
    slower, _ = effects(*measured((TRAINING,), patched=1.1))
    assert conclusion(NETWORK, [faster, slower]).endswith(": faster forward; but slower training step")
    assert conclusion(NETWORK, [same]).startswith("not worth it: with 2 of 3 sites changed, the network is not shown")
    left = structs.replace(NETWORK, sites=SITES[2:])
    assert conclusion(left, []) == "nothing to change: none of 1 site has a faster implementation"


def test_sites_of_one_case_share_a_row_and_the_largest_share_is_first():
    first, second = sites(NETWORK)
    assert first == {
        "sites": "the network's own code", "calls": 1, "% of its pass": "20",
        "case": "2x32x56x56 bfloat16, channels_last, 2 threads", "now": "sum, div", "then": "as it is",
    }  # fmt: skip
    assert (second["sites"], second["calls"], second["now"], second["then"]) == (
        "a.pool and 1 more", 3, "adaptive", "mean 0.40×",  # noqa: RUF001
    )  # fmt: skip


def test_the_page_of_such_a_run_has_the_network_and_no_other_page_has():
    results, samples = measured(patched=0.9)
    run = side(cases=[FORWARD], names=NAMES, network=to_builtins(NETWORK)).run
    html_of = {
        name: html.run_page(public(Stored(each, results, samples, summary.winners(results, samples))), None, "none",
                            single_file=False)
        for name, each in (("network", run), ("plain", structs.replace(run, network=None)))
    }  # fmt: skip
    assert "nets.py:make: 2 of 3 sites worth changing: faster forward." in html_of["network"]
    assert "a.pool and 1 more" in html_of["network"]
    assert re.search(r"adaptive</dt><dd>1\.00 ms.*mean</dt><dd>2\.00 ms", html_of["network"], re.DOTALL)
    assert 'id="network"' not in html_of["plain"]
