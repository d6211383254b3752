"""gapbench's own implementations from another checkout, in a process that has loaded this one's."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gapbench

PACKAGE = Path(gapbench.__file__).parent

ADOPT = """
import sys
from pathlib import Path
import gapbench.measuring.worker
from gapbench import operations
from gapbench.workloads import oracle
from gapbench.workloads.cases import Case
from gapbench.measuring.plan import Source

checkout, operation, name = sys.argv[1:]
source = Source.of(Path(checkout))
assert source.built_in
source.activate(operation)
implementation = operations.load(name)
print(implementation.summary)
print(oracle.__file__)
case = Case((2, 4, 8, 8), operation=operation)
function = implementation.prepare(case)
print(implementation.unsupported_reason(case) or oracle.examine(case, function, 0, implementation.truth).reason)
print(sorted({module.__file__ for module_name, module in sys.modules.items() if module_name.startswith(
    ("gapbench.implementations.eager", "gapbench.operations.pooling", "gapbench.implementations.triton."))}))
"""


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "gapbench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(checkout, file, old, new):
    path = checkout / "gapbench" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def load_checkout(checkout, operation, name):
    command = [sys.executable, "-c", ADOPT, str(checkout), operation, name]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_code_under_test_is_the_checkouts_and_the_harness_is_not(checkout):
    edit(checkout, "implementations/eager.py", "mean over the spatial dimensions", "another mean")
    (checkout / "gapbench" / "workloads" / "oracle.py").unlink()
    lines = load_checkout(checkout, "gap", "mean").stdout.splitlines()
    assert lines[0].startswith("another mean")
    assert lines[1] == str(PACKAGE / "workloads" / "oracle.py")
    assert lines[2] == "None"
    assert str(PACKAGE) not in lines[3]


@pytest.mark.parametrize("old", ["cases", "records", "devices", "truth"])
def test_a_checkout_from_before_modules_had_rooms_is_measured(checkout, old):
    edit(checkout, "implementations/eager.py", "from gapbench", f"import gapbench.{old}\nfrom gapbench")
    edit(checkout, "implementations/eager.py", "mean over the spatial dimensions", "an older mean")
    done = load_checkout(checkout, "gap", "mean")
    assert done.stdout.startswith("an older mean"), done.stderr


def test_another_operations_ways_come_from_there_as_well(checkout):
    edit(checkout, "operations/pooling.py", '"pooling", summary,', '"pooling", "changed",')
    done = load_checkout(checkout, "pooling", "global_max")
    assert done.stdout.splitlines()[0] == "changed", done.stderr
    assert done.stdout.splitlines()[2:], done.stderr
    assert str(checkout / "gapbench" / "operations" / "pooling.py") in done.stdout


def test_what_is_imported_late_comes_from_there_as_well(checkout):
    late = "from gapbench.implementations.triton.dispatch import Gap"
    code = ADOPT.replace("print(implementation.summary)", f"{late}\nprint(sys.modules[Gap.__module__].__file__)")
    command = [sys.executable, "-c", code, str(checkout), "gap", "mean"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == str(checkout / "gapbench/implementations/triton/dispatch.py")


def test_a_checkout_older_than_an_operation_has_the_others(checkout):
    shutil.rmtree(checkout / "gapbench" / "operations")
    assert load_checkout(checkout, "gap", "mean").returncode == 0
    assert "KeyError" in load_checkout(checkout, "pooling", "global_max").stderr


def test_a_checkout_that_does_not_import_says_so(checkout):
    edit(checkout, "implementations/eager.py", "import torch", "import torch_of_the_future")
    assert "torch_of_the_future" in load_checkout(checkout, "gap", "mean").stderr
