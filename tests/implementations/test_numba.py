"""Numba's kernels. How many threads it can start is settled when it is imported: such tests run in fresh processes."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from strategies import expected_output

from gapbench.implementations import numba
from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import LAYOUTS, Case

NUMBA_MEAN = builtin("numba_mean")


def fresh(code, **environment):
    """Return what ``code`` prints, as JSON, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture
def launched(monkeypatch):
    """Return a list of (kernel's name, address read, elements there), filled by every call."""
    calls = []
    kernels = numba._kernels(False)

    def watched(kernel):
        def launch(x, *rest):
            calls.append((kernel.__name__, x.ctypes.data, x.size))
            kernel(x, *rest)

        return launch

    monkeypatch.setattr(numba, "_kernels", lambda parallel: tuple(map(watched, kernels)))
    return calls


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_every_layout_where_it_lies(launched, layout):
    for shape in [(2, 5, 7), (2, 5, 7, 3), (2, 5, 7, 3, 2)]:
        case = Case(shape, layout=layout)
        x = inputs.sample(case, 0)
        NUMBA_MEAN.prepare(case)(x)
        name, address, size = launched[-1]
        assert name == ("rows" if layout == "contiguous" else "columns")
        assert address == x.data_ptr()
        assert case.elements <= size <= case.elements + case.n * case.c


def test_a_single_channel_is_read_along_its_rows_where_it_lies(launched):
    for layout in LAYOUTS:
        case = Case((2, 1, 7, 3), layout=layout)
        x = inputs.sample(case, 0)
        NUMBA_MEAN.prepare(case)(x)
        assert launched[-1][:2] == ("columns" if layout == "permuted" else "rows", x.data_ptr())


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[..., ::2],
        lambda x: x[:, ::2],
        lambda x: x[::2, :1],
        lambda x: x[:, :1, :, ::2],
        lambda x: x.mT,
        lambda x: x[:1, :, ::3],
        lambda x: x[:, :, :1, :1],
        lambda x: x[:, :1].expand(-1, 4, -1, -1),
        lambda x: x[:1].expand(3, -1, -1, -1),
        lambda x: x.permute(2, 3, 0, 1),
        lambda x: x.permute(3, 1, 2, 0),
    ],
)
def test_is_right_on_every_view(view):
    for source in LAYOUTS:
        x = view(inputs.sample(Case((4, 6, 5, 8), layout=source), 0))
        case = Case(tuple(x.shape))
        assert oracle.judge(case, NUMBA_MEAN.prepare(case)(x), expected_output(case, x)).reason is None


def test_sums_are_vectorised_without_assuming_that_numbers_are_finite(tmp_path):
    code = """
import json
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case
from gapbench.implementations import numba
for layout in ("contiguous", "channels_last"):
    case = Case((2, 64, 7, 7), layout=layout)
    numba.NUMBA[0].prepare(case)(inputs.sample(case, 0))
print(json.dumps([ir for kernel in numba._kernels(False) for ir in kernel.inspect_llvm().values()]))
"""
    sources = fresh(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert len(sources) == 2
    for source in sources:
        sums = re.findall(r"fadd (.*?)<\d+ x float>", source)
        assert sums
        assert not any(re.search(r"\b(fast|nnan|ninf)\b", flags) for flags in sums)


def test_threads_are_the_cases(tmp_path):
    code = """
import json, numba
from gapbench.workloads import oracle
from gapbench.workloads.cases import LAYOUTS, Case
from gapbench.implementations import numba as ours
said = []
for threads in (3, 2):
    for layout in LAYOUTS:
        case = Case((5, 600, 9, 7), layout=layout, threads=threads)
        reason = oracle.examine(case, ours.NUMBA[0].prepare(case), 0).reason
        said.append([reason, numba.get_num_threads()])
print(json.dumps(said))
"""
    said = fresh(code, NUMBA_NUM_THREADS="3", NUMBA_CACHE_DIR=str(tmp_path))
    assert said == [[None, 3]] * 4 + [[None, 2]] * 4


def test_a_second_process_compiles_nothing(tmp_path):
    code = """
import json
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case
from gapbench.implementations import numba
case = Case((2, 64, 7, 7))
numba.NUMBA[0].prepare(case)(inputs.sample(case, 0))
rows, _ = numba._kernels(False)
print(json.dumps([sum(rows.stats.cache_hits.values()), sum(rows.stats.cache_misses.values())]))
"""
    assert [fresh(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)] == [[0, 1], [1, 0]]


def test_what_numba_cannot_do_has_a_remedy(monkeypatch):
    assert "choose --dtype float32" in NUMBA_MEAN.unsupported(Case((2, 3, 7), dtype="bfloat16"))
    monkeypatch.setattr(numba.host, "usable_cpus", lambda: frozenset({0, 1}))
    assert "choose --threads 2 or fewer" in NUMBA_MEAN.unsupported(Case((2, 3, 7), threads=3))
    assert NUMBA_MEAN.unsupported(Case((2, 3, 7), threads=2)) is None


def test_the_limit_of_threads_is_numbas_own():
    import numba as library

    assert len(numba.host.usable_cpus()) == library.config.NUMBA_DEFAULT_NUM_THREADS


def test_empty_inputs_average_to_nothing_or_nan():
    assert NUMBA_MEAN.prepare(Case((0, 3, 7)))(torch.ones(0, 3, 7)).shape == (0, 3, 1)
    assert NUMBA_MEAN.prepare(Case((2, 3, 0)))(torch.ones(2, 3, 0)).isnan().all()
