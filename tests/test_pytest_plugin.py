"""The plugin as users meet it: real pytest runs of a suite, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pandas.core.arrays.arrow.extension_types  # pytester forgets modules, and pyarrow takes these only once
import pytest

from gapbench.machine import device_lock
from gapbench.machine.devices import Cpu
from gapbench.workloads import suites

QUICK = suites.folder() / "bench_quick.py"
SUITE = """
    '''Which is fastest for a tiny input?'''
    from gapbench import suite
    from gapbench.workloads.suites import grid

    CHOSEN = ["mean", "mean_flat", "sum_scale", "triton"]

    @suite(grid({"tiny": (1, 8, 4, 4)}, dtypes=["float32", "float16"]), implementations=CHOSEN)
    def test_tiny(measured):
        measured()
"""


@pytest.fixture
def run(pytester):
    pytester.makepyfile(bench_tiny=SUITE)

    def run(*arguments):
        return pytester.runpytest_subprocess(
            "bench_tiny.py", "--gapbench-budget", "9s", "-p", "no:cacheprovider", *arguments
        )

    return run


def test_the_medians_of_benchmark_json_are_the_stores(run, pytester):
    run("--benchmark-json=out.json").assert_outcomes(passed=6, skipped=2)
    benchmarks = json.loads(Path("out.json").read_text())["benchmarks"]
    (stored,) = Path("results").glob("2*")
    samples = pd.read_parquet(stored / "samples.parquet")
    medians = samples.groupby(["case", "implementation"])["seconds_per_call"].median()
    assert len(benchmarks) == 6
    for benchmark in benchmarks:
        extra = benchmark["extra_info"]
        assert extra["run"] == stored.name
        assert benchmark["stats"]["median"] == medians[extra["case"], extra["implementation"]]
        assert benchmark["group"] == extra["case"]
    assert sum(benchmark["stats"]["rounds"] for benchmark in benchmarks) == len(samples)


def test_selection_comparison_and_grouping_are_pytests_own(run):
    chosen = "mean and float32"
    run("-k", chosen, "--benchmark-autosave").assert_outcomes(passed=2, deselected=6)
    compared = run("-k", "mean_flat and float32", "--benchmark-compare", "--benchmark-group-by=fullname")
    compared.assert_outcomes(passed=1, deselected=7)
    for line in ("*(0001_*", "*(NOW)*", "gapbench run * in results"):
        compared.stdout.fnmatch_lines([line])


def test_items_that_cannot_run_say_why(run):
    run("-k", "triton", "-rs").stdout.fnmatch_lines(["SKIPPED*triton kernels need a GPU*"])


def test_a_wrong_implementation_fails_its_item(pytester):
    pytester.makepyfile(bench_tiny=SUITE.replace("(1, 8, 4, 4)", "(1, 8, 64, 64)"))
    result = pytester.runpytest_subprocess(
        "bench_tiny.py", "-k", "float16 and sum_scale", "--gapbench-budget", "2s", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["wrong: *got inf*"])


def test_a_device_that_is_being_measured_on_is_waited_for_and_that_is_said_at_once(pytester, monkeypatch):
    locks = pytester.mkdir("locks")
    monkeypatch.setenv("GAPBENCH_LOCKS", str(locks))
    pytester.makepyfile(bench_tiny=SUITE)
    options = ["-k", "mean_flat and float32", "--gapbench-budget", "1s", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "bench_tiny.py", *options]
    with device_lock.take(Cpu(), "somebody", locks):
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = next((line for line in waiting.stderr if line.strip()), "")
        begun = Path("results").exists()
    out, _ = waiting.communicate(timeout=120)
    assert line.startswith(f"gapbench waits: cpu is in use by process {os.getpid()} (somebody) since 20"), out
    assert not begun
    assert waiting.returncode == 0, out


@pytest.mark.parametrize("options", [["--benchmark-disable"], ["-n", "2"]])
def test_disabled_benchmarks_are_checked_and_not_measured(run, options):
    run(*options, "-W", "error").assert_outcomes(passed=6, skipped=2)
    assert not Path("results").exists()


def test_a_profile_may_be_asked_for_of_what_is_replayed(run):
    run("-k", "mean_flat and float32", "--benchmark-cprofile=tottime").assert_outcomes(passed=1, deselected=7)


def test_repeats_of_an_item_are_measured_each(pytester):
    repeated = SUITE.replace(
        "    @suite", "    import pytest\n\n    @pytest.mark.parametrize('repeat', [0, 1])\n    @suite"
    )
    pytester.makepyfile(bench_tiny=repeated.replace("(measured)", "(measured, repeat)"))
    options = ["-k", "mean_flat and float32", "--gapbench-budget", "4s", "-p", "no:cacheprovider"]
    result = pytester.runpytest_subprocess("bench_tiny.py", *options, "--benchmark-json=out.json")
    result.assert_outcomes(passed=2, deselected=14)
    first, second = json.loads(Path("out.json").read_text())["benchmarks"]
    assert first["extra_info"]["run"] != second["extra_info"]["run"]
    assert first["stats"]["mean"] != second["stats"]["mean"]
    assert len(list(Path("results").glob("2*"))) == 2


def test_the_shipped_suites_collect_one_item_per_case_and_implementation(pytester):
    (quick,) = suites.find("quick")
    result = pytester.runpytest_subprocess(str(QUICK), "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [
            "*test_quick[[]8x2048x7x7-bfloat16-contiguous-cpu-forward-t1-avg_pool[]]",
            f"{5 * len(quick.implementations)} tests collected*",
        ]
    )


def test_a_folder_of_suites_is_collected():
    command = [sys.executable, "-m", "pytest", "suites", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=QUICK.parents[1], capture_output=True, text=True, check=True)
    assert {name for name in suites.names() if f"bench_{name}.py::" in done.stdout} == {*suites.names()}


def test_a_weighted_list_of_cases_is_a_suite_under_pytest_too(pytester):
    Path("pooling.json").write_text('{"schema": 1, "cases": [{"shape": "1x8x4x4", "count": 3}]}')
    options = ["-k", "mean and not compiled", "--gapbench-budget", "4s", "-p", "no:cacheprovider"]
    result = pytester.runpytest_subprocess("pooling.json", *options)
    result.assert_outcomes(passed=1, deselected=6)
    (results,) = Path("results").glob("2*/results.parquet")
    assert set(pd.read_parquet(results)["suite"]) == {"pooling.json"}
    assert set(pd.read_parquet(results)["weight"]) == {3}
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes()  # lists are collected by name only


def test_a_list_that_makes_no_sense_is_one_line_under_pytest(pytester):
    Path("pooling.csv").write_text("shape,cuont\n1x2x3,4\n")
    result = pytester.runpytest_subprocess("pooling.csv", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pooling.csv' is not a list of cases of schema 1: *unknown field `cuont`*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_other_peoples_tests_are_left_alone(pytester):
    pytester.makepyfile("def test_theirs(benchmark): assert benchmark(lambda: 1) == 1")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_what_does_not_fit_the_budget_is_skipped_and_says_so(run):
    result = run("--gapbench-budget", "1s", "-rs")
    result.assert_outcomes(passed=3, skipped=5)
    result.stdout.fnmatch_lines(["SKIPPED*dropped to fit --gapbench-budget*"])
