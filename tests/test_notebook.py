"""docs/notebook.ipynb runs on a store, and is stored without what a machine said.

Its cells are plain Python, so a fresh interpreter runs them in order and keeps what each would show. A Jupyter kernel
would add two dozen packages and a server's sockets to the tests, and nothing that these cells use.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from factories import a_run
from stored import keep, side

from gapbench.store.store import Store
from gapbench.workloads.cases import Case

PATH = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

RUN = """
import ast, json, sys

space, shown = {}, []
for number, source in enumerate(json.load(sys.stdin)):
    cell = ast.parse(source)
    last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
    exec(compile(cell, f"cell {number}", "exec"), space)
    value = last and eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), space)
    shown.append(type(value).__name__)
print(json.dumps(shown))
"""


def run(folder):
    (folder / "docs").mkdir()
    return subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(CODE), cwd=folder / "docs", capture_output=True, text=True
    )


@pytest.mark.parametrize("rich", [True, False])
def test_it_runs_on_a_store(tmp_path, rich):
    store = Store(str(tmp_path / "results"))
    if rich:
        keep(store, side(cases=[Case((8, 64, size, size)) for size in (2, 7, 14, 28)], statuses={"odd": "wrong"}))
    else:
        a_run(store)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    *said, shown = done.stdout.splitlines()
    assert json.loads(shown) == ["DataFrame", "DataFrame", "DataFrame", "Figure", "DataFrame"]
    assert said[0].startswith("mean is fastest in 4 of 4 cases" if rich else "adaptive is fastest in 1 of 1 case")


def test_without_runs_it_says_what_to_do(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "holds no runs; measure one with: gapbench run" in done.stderr


def test_it_is_stored_without_outputs_and_says_nothing_of_a_machine():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        assert not cell["metadata"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}
    assert NOTEBOOK["metadata"]["language_info"] == {"name": "python"}
