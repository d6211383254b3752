"""The documentation: what comes from the code is as it would be written now, examples run, links lead somewhere."""

import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gapbench.implementations import user
from gapbench.store.store import Store
from gapbench.workloads import oracle
from gapbench.workloads.cases import LAYOUTS, Case

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", EXAMPLES / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("--rounds", "2", "--budget", "3s")

spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("page", generate.PAGES)
def test_pages_that_come_from_the_code_are_what_it_says_today(page):
    today = generate.PAGES[page]()
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == today, "run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_exist(page):
    paths = re.findall(
        r"`((?:gapbench|suites|tests|docs|benchmarks|examples)/[\w/-]+(?:\.\w+|/))`", page.read_text("utf-8")
    )
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def gapbench(folder, *arguments):
    command = [sys.executable, "-m", "gapbench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_example_of_an_implementation_is_measured(tmp_path):
    spec = f"{EXAMPLES / 'implementation.py'}:two_stage"
    done = gapbench(tmp_path, "run", "quick", "--impl", spec, "-k", "1x64 and two_stage", *RUN)
    assert (done.returncode, "two_stage" in done.stdout) == (0, True), done.stderr


def test_the_example_of_code_compiled_ahead_of_time_is_right_and_measured(tmp_path):
    spec = f"{EXAMPLES / 'aot_inductor.py'}:aot_mean"
    chosen = ("--shape", "2x8x4x4", "--dtype", "float32", "--layout", "contiguous")
    done = gapbench(tmp_path, "run", *chosen, "--impl", spec, *RUN)
    assert (done.returncode, "aot_mean" in done.stdout) == (0, True), done.stderr


def test_the_example_of_hand_written_loops_is_right_in_every_layout_and_measured(tmp_path):
    spec = f"{EXAMPLES / 'numba_mean.py'}:numba_mean"
    loops = user.load(spec)
    for layout, shape in itertools.product(LAYOUTS, [(2, 600, 7), (3, 5, 4, 6), (1, 3, 2, 2, 2), (4, 1, 3, 3)]):
        case = Case(shape, layout=layout)
        assert oracle.examine(case, loops.prepare(case), 0).reason is None
    chosen = ("--shape", "2x8x4x4", "--dtype", "float32", "--layout", "channels_last")
    done = gapbench(tmp_path, "run", *chosen, "--impl", spec, *RUN)
    assert (done.returncode, "numba_mean" in done.stdout) == (0, True), done.stderr


def test_the_example_of_another_runtime_is_right_in_every_layout_and_dtype():
    runtime = user.load(f"{EXAMPLES / 'onnx_mean.py'}:onnx_mean")
    shapes = [(2, 3, 5), (2, 3, 5, 7), (1, 3, 4, 5, 6), (1, 64, 112, 112)]
    for layout, shape, dtype in itertools.product(LAYOUTS, shapes, ("float32", "float16", "float64")):
        case = Case(shape, dtype, layout)
        assert oracle.examine(case, runtime.prepare(case), 0).reason is None


def test_the_examples_of_a_suite_and_of_reading_samples_run(tmp_path):
    chosen = ("--impl", "mean", "--layout", "contiguous")
    done = gapbench(tmp_path, "run", str(EXAMPLES / "bench_mine.py"), *chosen, *RUN)
    assert done.returncode == 0, done.stderr
    read = subprocess.run(
        [sys.executable, EXAMPLES / "read_samples.py", "results"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read.stdout.count("mean") == 2


def test_the_example_of_a_network_is_recorded_and_measured(tmp_path):
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    source, listed, table = (
        re.search(rf"^```{kind}\n(.*?)^```", page, re.M | re.S)[1] for kind in ("python", "json", "csv")
    )
    (tmp_path / "nets.py").write_text(source)
    record, run, apply, *_ = re.findall(r"^\$ gapbench (.*)$", page, flags=re.MULTILINE)
    done = gapbench(tmp_path, *record.split())
    assert done.returncode == 0, done.stderr
    assert "squeeze, adaptive_avg_pool2d" in " ".join(done.stdout.split())
    assert "nets.py:14" in done.stdout
    assert "2 pooling calls in 1 kind, " in done.stdout
    done = gapbench(tmp_path, *run.split(), "--impl", "mean", *RUN)
    assert (done.returncode, "pooling.json      2  mean" in done.stdout) == (0, True), done.stderr
    for name, content, count in (("page.json", listed, 2), ("page.csv", table, 2)):
        (tmp_path / name).write_text(content)
        assert gapbench(tmp_path, "run", name, "--dry-run").stdout.count("implementations)") == count
    done = gapbench(tmp_path, *apply.split(), "--budget", "2s")
    assert (done.returncode, "sites" in done.stdout) == (0, True), done.stderr


def test_the_example_of_a_plugin_is_found_where_it_is_installed(tmp_path, monkeypatch):
    """A package is its module and its metadata, which is what pip would put beside each other."""
    project = tomllib.loads((EXAMPLES / "plugin" / "pyproject.toml").read_text())["project"]
    shutil.copy(EXAMPLES / "plugin" / "gapbench_example.py", tmp_path)
    metadata = tmp_path / "gapbench_example-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    group, entries = next(iter(project["entry-points"].items()))
    points = "".join(f"{name} = {target}\n" for name, target in entries.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{points}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    done = gapbench(tmp_path, "run", "quick", "--impl", "example_mean", "-k", "1x64", *RUN)
    assert done.returncode == 0, done.stderr
    results = Store(str(tmp_path / "results")).results()  # the table names it only where it is not clearly slower
    assert set(results.loc[results["status"] == "ok", "implementation"]) == {"mean", "example_mean"}
