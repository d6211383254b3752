"""Weighted lists of cases on the command line: measured, planned, listed, totalled as one network."""

import json

import pytest

LIST = {
    "schema": 1,
    "cases": [
        {"shape": "1x8x4x4", "count": 3, "sites": [{"module": "se"}]},
        {"shape": "1x8x4x4", "layout": "channels_last", "count": 2},
        {"shape": "1x4x5", "dtype": "bfloat16"},
    ],
}
FEW = ["--impl", "mean", "--impl", "sum_scale", "--budget", "5s", "--rounds", "2"]


@pytest.fixture
def pooling(tmp_path):
    """A list of 6 calls in 3 kinds, in the current folder."""
    (tmp_path / "pooling.json").write_text(json.dumps(LIST))
    return "pooling.json"


def test_a_list_is_measured_and_totalled_by_its_counts(gapbench, pooling):
    code, out, err = gapbench("run", pooling, *FEW, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["counts"] == {"ok": 6}
    times = {}
    code, out, _ = gapbench("run", pooling, *FEW)
    lines = [line.split() for line in out.splitlines() if line.startswith("pooling.json")]
    assert {line[2] for line in lines} == {"mean", "sum_scale"}
    assert {line[1] for line in lines} == {"6"}
    for row in document["totals"]:
        assert (row["suite"], row["cases"], row["calls"], row["dtype"]) == ("pooling.json", 3, 6, "")
        times[row["implementation"]] = row["seconds"]
    winners = {row["case"]: row["seconds"] for row in document["winners"]}
    counts = [3, 2, 1]
    best = sum(count * seconds for count, seconds in zip(counts, winners.values(), strict=True))
    assert min(times.values()) >= best * 0.999
    assert document["totals"][0]["best_of_each"] <= min(times.values())


def plan(gapbench, *arguments):
    code, out, err = gapbench("run", *arguments, "--dry-run", "--json")
    assert code == 0, err
    return json.loads(out)["cases"]


def test_a_dry_run_and_list_show_its_cases(gapbench, pooling):
    names = [case["name"] for case in plan(gapbench, pooling)]
    assert names[0] == "1x8x4x4-float32-contiguous-cpu-forward-t1"
    code, out, _ = gapbench("list", "cases", pooling, "--json")
    listed = json.loads(out)
    assert code == 0
    assert [case["name"] for case in listed] == names
    assert [(case["suite"], case["calls"]) for case in listed] == [("pooling.json", n) for n in (3, 2, 1)]
    assert json.loads(gapbench("list", "suites", pooling, "--json")[1])[0]["cases"] == 3


def test_counts_of_cases_that_an_option_makes_the_same_add_up(gapbench, pooling):
    from gapbench.cli.selection import Selection

    nothing = dict.fromkeys(("specs", "shapes", "dtypes", "passes", "threads", "clocks"), ())
    selection = Selection(suites=[pooling], device="cpu", expression=None, layouts=["contiguous"], **nothing)
    assert [plan.case.weight for plan in selection.plans()] == [5, 1]


def test_a_case_that_a_suite_shares_belongs_to_the_list(gapbench, pooling, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({**LIST, "cases": LIST["cases"][:1]}))
    (tmp_path / "bench_mine.py").write_text(
        "from gapbench import grid, suite\n\n\n@suite(grid({'a': (1, 8, 4, 4), 'b': (1, 8, 3, 3)}))\n"
        "def test_mine(measured):\n    measured()\n"
    )
    suites = {case["name"][:7]: case["suite"] for case in plan(gapbench, "bench_mine.py", pooling)}
    assert suites == {"1x8x4x4": "pooling.json", "1x4x5-b": "pooling.json", "1x8x3x3": "mine"}
    code, out, err = gapbench("run", pooling, "other.json", "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("gapbench: pooling.json and other.json share 1x8x4x4-float32-contiguous")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "pooling.json").write_text(json.dumps(LIST))
    assert "two lists are called pooling.json" in gapbench("run", pooling, "deeper/pooling.json", "--dry-run")[2]


@pytest.mark.parametrize("what", ["runs", "devices", "implementations"])
def test_only_suites_and_cases_are_listed_of_a_suite(gapbench, what):
    code, out, err = gapbench("list", what, "quick")
    assert (code, out) == (2, "")
    assert err == f"gapbench: 'quick' is one argument too many: gapbench list {what} takes no SUITE\n"
