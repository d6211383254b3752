"""The laws of the architecture that import-linter cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gapbench

PACKAGE = Path(gapbench.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_suites" not in path.parts)
HEAVY = {"torch", "pandas", "scipy", "plotly", "pyarrow", "triton", "itables", "ruptures"}

PRINT_HEAVY = f"import sys; print('heavy', [m for m in {sorted(HEAVY)} if m in sys.modules])"


def names(path):
    """Return every dotted name that a module mentions, and every call's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Attribute, ast.Name)):
            yield ast.unparse(node)


def where(path):
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize(
    "statement", ["import gapbench.cli; gapbench.cli.gapbench.get_help", "import gapbench.pytest_plugin"]
)
def test_starting_up_imports_nothing_heavy(statement):
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {PRINT_HEAVY}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "heavy []"


def test_help_of_every_command_imports_nothing_heavy():
    from gapbench.cli import COMMANDS

    calls = "; ".join(f"g([{name!r}, '--help'], standalone_mode=False)" for name in (c.name for c in COMMANDS))
    code = f"import sys; from gapbench.cli import gapbench as g; {calls}; {PRINT_HEAVY}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("heavy []")


def test_reports_and_diffs_load_without_torch():
    modules = "gapbench.analysis.compare, gapbench.fleet.merging, gapbench.store.verify"
    modules += ", gapbench.report.diff, gapbench.report.html, gapbench.report.text"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_the_command_line_and_the_plugin_read_arguments_and_environment_variables():
    # measuring/forkserver_process.py is a process of its own, whose arguments are its parent's;
    # measuring/worker_env.py hands variables on to processes by their names, and heeds none
    # git.py hands on all but git's own
    processes = {"measuring/forkserver_process.py", "measuring/worker_env.py"}
    allowed = {"repository/git.py", "cli", "pytest_plugin.py"} | processes
    readers = {
        where(path)
        for path in MODULES
        if {"sys.argv", "os.environ", "os.getenv"} & set(names(path))
        and not any(where(path).startswith(one) for one in allowed)
    }
    assert readers == set()


def test_only_store_report_and_profiling_write_files():
    # cli/__init__.py opens the null device in place of closed streams; cli/python.py hands workers functions as files
    # certify.py writes the two versions that it compares, into a temporary folder
    # forkserver.py keeps a byte in shared memory, an anonymous file; device_lock has locks, tuning notes beside them
    writing = {
        "write_text",
        "write_bytes",
        "pipe_file",
        "to_parquet",
        "to_csv",
        "to_json_file",
        "open",
        "mkdir",
        "write_table",
    }
    writers = {where(path) for path in MODULES if any(name.rpartition(".")[2] in writing for name in names(path))}
    others = {writer for writer in writers if not writer.startswith(("store/", "report/", "profiling/"))}
    assert others <= {
        "machine/device_lock.py",
        "machine/tuning.py",
        "cli/__init__.py",
        "cli/python.py",
        "measuring/certify.py",
    }


def test_there_is_one_timing_loop():
    clocks = {where(path) for path in MODULES if {"perf_counter_ns", "time.perf_counter_ns"} & set(names(path))}
    assert all(path.startswith("measuring/clocks/") for path in clocks)


def test_modules_stay_small_and_public_ones_open_with_their_purpose():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 500, where(path)
        assert ast.get_docstring(ast.parse(text)), f"{where(path)} has no docstring"


def test_the_package_shows_its_rooms():
    entries = [path for path in PACKAGE.iterdir() if not path.name.startswith("__pycache__")]
    rooms = [path for path in entries if path.is_dir() and path.name != "_suites"]
    assert len(entries) <= 17
    assert all(ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) for room in rooms)


def test_tests_lie_in_rooms_of_the_same_names():
    """So that what tests a module is found where it is looked for."""
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders - {"benchmarks", "fuzz", "simulated"} <= rooms
