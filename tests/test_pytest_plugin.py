"""The plugin as users meet it: real pytest runs of a suite, in processes of their own."""

import json
from pathlib import Path

import pandas as pd
import pytest

from gapbench import suites
from gapbench.cases import Case
from gapbench.implementations import IMPLEMENTATIONS

QUICK = suites.folder() / "bench_quick.py"
SUITE = """
    '''Which is fastest for a tiny input?'''
    from gapbench import suite
    from gapbench.suites import grid

    @suite(grid({"tiny": (1, 8, 4, 4)}, dtypes=["float32", "float16"]))
    def test_tiny(measured):
        measured()
"""
TINY = [Case((1, 8, 4, 4), dtype=dtype) for dtype in ("float32", "float16")]
UNCOMPILED = [one for one in IMPLEMENTATIONS if one.family != "compiled" and one.variant_of is None]
ITEMS = [one.unsupported(case) is None for case in TINY for one in UNCOMPILED]
"""Whether each item of the suite above can be measured here."""


@pytest.fixture
def run(pytester):
    pytester.makepyfile(bench_tiny=SUITE)

    def run(*arguments):
        return pytester.runpytest_subprocess(
            "bench_tiny.py", "-k", "not compiled", "--gapbench-budget", "3s", "-p", "no:cacheprovider", *arguments
        )

    return run


def test_the_medians_of_benchmark_json_are_the_stores(run, pytester):
    run("--benchmark-json=out.json").assert_outcomes(passed=ITEMS.count(True), skipped=ITEMS.count(False))
    benchmarks = json.loads(Path("out.json").read_text())["benchmarks"]
    (stored,) = Path("results").glob("2*")
    samples = pd.read_parquet(stored / "samples.parquet")
    medians = samples.groupby(["case", "implementation"])["seconds_per_call"].median()
    assert len(benchmarks) == ITEMS.count(True)
    for one in benchmarks:
        extra = one["extra_info"]
        assert extra["run"] == stored.name
        assert one["stats"]["median"] == medians[extra["case"], extra["implementation"]]
        assert one["group"] == extra["case"]
    assert sum(one["stats"]["rounds"] for one in benchmarks) == len(samples)


def test_selection_comparison_and_grouping_are_pytests_own(run):
    chosen = run("-k", "t1-mean and float32", "--benchmark-autosave").parseoutcomes()
    assert chosen["passed"] == 2  # mean and mean_flat
    compared = run("-k", "mean_flat and float32", "--benchmark-compare", "--benchmark-group-by=fullname")
    assert compared.parseoutcomes()["passed"] == 1
    assert compared.parseoutcomes()["deselected"] == chosen["deselected"] + 1
    for line in ("*(0001_*", "*(NOW)*", "gapbench run * in results"):
        compared.stdout.fnmatch_lines([line])


def test_items_that_cannot_run_say_why(run):
    run("-k", "triton", "-rs").stdout.fnmatch_lines(["SKIPPED*triton kernels need a GPU*"])


def test_a_wrong_implementation_fails_its_item(pytester):
    pytester.makepyfile(bench_tiny=SUITE.replace("(1, 8, 4, 4)", "(1, 8, 64, 64)"))
    result = pytester.runpytest_subprocess(
        "bench_tiny.py", "-k", "float16 and t1-sum_scale", "--gapbench-budget", "2s", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["wrong: *got inf*"])


def test_disabled_benchmarks_are_checked_and_not_measured(run):
    run("--benchmark-disable").assert_outcomes(passed=ITEMS.count(True), skipped=ITEMS.count(False))
    assert not Path("results").exists()


def test_the_shipped_suites_collect_one_item_per_case_and_implementation(pytester):
    result = pytester.runpytest_subprocess(str(QUICK), "--collect-only", "-q")
    items = {line.partition("::")[2] for line in result.outlines if "::" in line}
    (quick,) = suites.find("quick")
    names = [one.name for one in IMPLEMENTATIONS if one.variant_of is None]
    assert items >= {f"test_quick[{case.id}-{name}]" for case in quick.cases for name in names}
    assert len(items) % len(quick.cases) == 0


def test_other_peoples_tests_are_left_alone(pytester):
    pytester.makepyfile("def test_theirs(benchmark): assert benchmark(lambda: 1) == 1")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
