"""Each row of the table in CONTRIBUTING.md, tried: the addition touches what the row names, and works.

All are made together in one copy of the package, so that none needs what the others change.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent

IMPLEMENTATION = """
@_eager("mean, added", "x.mean((2, 3), keepdim=True)")
def _added(case: Case) -> Function:
    return lambda x: x.mean(case.spatial_dims, keepdim=True)


EAGER: tuple[Implementation, ...] = (
    _added,
"""

OPERATION = '''"""An added operation: the maximum, and the mean beside it, which compute different things."""

from gapbench.implementations import Implementation
from gapbench.operations.base import Operation
from gapbench.workloads.truth import Differentiated


def _pool(name, reduce):
    prepare = lambda case: lambda x: reduce(x, case.spatial_dims)
    truth = Differentiated(prepare, lambda case: case.averaged, lambda case: case.window, prepare)
    return Implementation(f"added_{name}", "pooling", name, f"x.{name}()", prepare, truth=truth)


ADDED = Operation(
    "added_operation",
    "the maximum beside the mean",
    "added_amax",
    (_pool("amax", lambda x, dims: x.amax(dims, True)), _pool("mean", lambda x, dims: x.mean(dims, True))),
    ranked=False,
)
'''

SUITE = '''"""Does an added suite run?"""

from gapbench import grid, suite
from gapbench.workloads.shapes import ADDED_SHAPES


@suite(grid(ADDED_SHAPES), grid(ADDED_SHAPES, operation="added_operation"), implementations=["mean", "added"])
def test_added(measured):
    measured()
'''

CLOCK = '''"""An added clock: cold by its own word."""

from gapbench.measuring.clocks.host import Host


class Added(Host):
    """Time as `Host` does."""

    name = "added_clock"
    cold = True
'''

CHART = '''"""An added chart: how many rows there are."""

import plotly.graph_objects as go


def figure(results):
    return go.Figure(go.Bar(x=["rows"], y=[len(results)]))


def summary(results):
    return f"Added chart of {len(results)} rows."


def table(results):
    return results[["implementation"]]
'''

COMMAND = '''"""``gapbench added``: an added command."""

import click


@click.command("added")
def command() -> None:
    """Say that it was added."""
    click.echo("added command")
'''

METRIC = """METRICS: tuple[Metric, ...] = (
    Metric("calls_per_second", "calls/s", "Added metric.", lambda case, seconds: 1 / seconds),
"""

DEVICE = '''
class Added(Accelerator):
    """An added family of devices."""

    def describe(self):
        return {"description": "added device"}


FAMILIES: dict[str, type[Accelerator]] = {"added": Added, '''

EDITS = [
    ("implementations/eager.py", "\nEAGER: tuple[Implementation, ...] = (\n", IMPLEMENTATION),
    (
        "implementations/compiled.py",
        "MODES: tuple[Mode, ...] = (\n",
        'MODES: tuple[Mode, ...] = (\n    Mode("added_mode", "an added mode", {"dynamic": True}),\n',
    ),
    ("operations/added_operation.py", "", OPERATION),
    (
        "operations/__init__.py",
        "OPERATIONS: tuple[Operation, ...] = (",
        "from gapbench.operations.added_operation import ADDED\n\nOPERATIONS: tuple[Operation, ...] = (ADDED, ",
    ),
    (
        "workloads/shapes.py",
        "\nTUTORIAL: Shapes",
        '\nADDED_SHAPES: Shapes = {"added shape": (2, 8, 6, 6)}\nTUTORIAL: Shapes',
    ),
    ("measuring/clocks/added.py", "", CLOCK),
    (
        "measuring/clocks/__init__.py",
        "CLOCKS: tuple[type[Clock], ...] = (",
        "from gapbench.measuring.clocks.added import Added\n\nCLOCKS: tuple[type[Clock], ...] = (Added, ",
    ),
    ("machine/devices.py", "\nFAMILIES: dict[str, type[Accelerator]] = {", DEVICE),
    ("store/metrics.py", "METRICS: tuple[Metric, ...] = (\n", METRIC),
    ("report/charts/added.py", "", CHART),
    (
        "report/views.py",
        "VIEWS: tuple[View, ...] = (\n",
        "from gapbench.report.charts import added\n\nVIEWS: tuple[View, ...] = (\n"
        '    View("added", "Added", "Does an added chart show?", "run", added, lambda run: (run.results,)),\n',
    ),
    ("report/diff/added.py", "", 'def render(diff):\n    return f"added format: {len(diff.rows)} rows"\n'),
    ("cli/diff.py", "FORMATS = {\n", 'FORMATS = {\n    "added": "gapbench.report.diff.added:render",\n'),
    ("cli/added.py", "", COMMAND),
    (
        "cli/__init__.py",
        "COMMANDS: tuple[click.Command, ...] = (\n",
        "from gapbench.cli import added\n\nCOMMANDS: tuple[click.Command, ...] = (\n    added.command,\n",
    ),
]
"""File of the package, what is replaced there (nothing: the file is new), and by what."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder with a copy of the package that has all additions."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "gapbench", root / "gapbench", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "suites").mkdir()
    (root / "suites" / "bench_added.py").write_text(SUITE)
    for name, old, new in EDITS:
        path = root / "gapbench" / name
        text = path.read_text() if old else ""
        assert text.count(old) == 1 or not old, (name, old)
        path.write_text(text.replace(old, new) if old else new)
    return root


@pytest.fixture(scope="module")
def extended(root):
    """Return a function that runs a Python command in that folder, for its output."""

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.fixture(scope="module")
def gapbench(extended):
    return lambda *arguments: extended("-m", "gapbench", *arguments)


@pytest.fixture(scope="module")
def recorded(root, gapbench):
    """Return the folder and the results of a run of the added suite by the added clock."""
    limits = ("--rounds", "1", "--budget", "20s")
    document = json.loads(gapbench("run", "added", "--clock", "added_clock", "--device", "cpu", *limits, "--json"))
    return document["run"], pd.read_parquet(root / document["path"] / "results.parquet")


def test_an_implementation_is_measured_and_right(recorded):
    _, results = recorded
    assert results.set_index("implementation").loc["added", "status"] == "ok"


def test_a_mode_gives_every_spelling_that_it_names(gapbench):
    names = {row["name"] for row in json.loads(gapbench("list", "implementations", "--json"))}
    assert "compiled_mean_added_mode" in names


def test_an_operation_is_judged_by_its_own_answer_and_ranked_as_it_says(recorded):
    _, results = recorded
    of = results[results["operation"] == "added_operation"]
    assert of["implementation"].tolist() == ["added_amax", "added_mean"]
    assert of["status"].eq("ok").all()
    assert not of["ranked"].any()
    assert of["best"].isna().all()
    assert results.loc[results["operation"] == "gap", "best"].notna().all()


def test_a_suite_and_its_shapes_are_listed(gapbench):
    assert "added" in {row["name"] for row in json.loads(gapbench("list", "suites", "--json"))}
    assert "added shape" in gapbench("list", "cases", "--json")


def test_a_clock_times_and_says_what_it_is(recorded):
    _, results = recorded
    assert results["clock"].eq("added_clock").all()
    assert results["cold"].all()
    assert not results["times_launch"].any()


def test_a_device_is_of_its_family(extended):
    shown = extended("-c", "from gapbench.machine import devices; print(devices.FAMILIES['added']('added').describe())")
    assert "added device" in shown


def test_a_metric_is_stored_and_shown(recorded, page):
    _, results = recorded
    ok = results[results["status"] == "ok"]
    assert (ok["calls_per_second"] * ok["seconds"]).sub(1).abs().max() < 1e-9
    assert '"calls_per_second"' in page
    assert "Added metric." in page


@pytest.fixture(scope="module")
def page(gapbench, recorded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    gapbench("report", "latest", "-o", str(folder))
    return "".join(path.read_text() for path in folder.rglob("*.html"))


def test_a_chart_is_on_the_page(page):
    assert "Does an added chart show?" in page
    assert "Added chart of 4 rows." in page


def test_a_format_of_diffs_is_offered(extended, gapbench):
    assert "added" in gapbench("diff", "--help")
    code = "import types; from gapbench.cli.diff import show; show(types.SimpleNamespace(rows=[1, 2]), 'added', None)"
    assert extended("-c", code) == "added format: 2 rows\n"


def test_a_command_is_listed_and_runs(gapbench):
    assert "Say that it was added." in gapbench("--help")
    assert gapbench("added") == "added command\n"
