"""What implementations do where nothing is to be averaged, integers come in, or offsets leave 32 bits.

The table in docs/findings.md says the same, and is compared here.
"""

import re
from pathlib import Path

import pytest
import torch
from strategies import expected_output

from gapbench.errors import GapbenchError
from gapbench.implementations.eager import EAGER
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case

FINDINGS = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", FINDINGS, flags=re.MULTILINE)
EDGES = {
    "no samples": torch.ones(0, 3, 4, 4),
    "no channels": torch.ones(2, 0, 4, 4),
    "empty windows": torch.ones(2, 3, 0, 4),
    "integers": torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4),
}
BY_NAME = pytest.mark.parametrize("implementation", EAGER, ids=lambda implementation: implementation.name)


def behaviour(implementation, x):
    """Say in a word what comes out: ``right``, ``raises``, or what is wrong with it."""
    try:
        y = implementation.prepare(Case(tuple(x.shape)))(x)
    except (ArithmeticError, RuntimeError, ValueError, TypeError):
        return "raises"
    want = x.double().mean((2, 3), keepdim=True)
    if not y.is_floating_point():
        return "truncates"
    if y.shape != want.shape or not torch.allclose(y.double(), want, equal_nan=True, rtol=1e-6, atol=0):
        return "wrong"
    return "NaN" if want.isnan().any() else "right"


@BY_NAME
def test_the_findings_say_what_happens_at_the_edges(implementation):
    documented = {name: cells for name, *cells in ROWS}[implementation.name]
    assert [behaviour(implementation, x) for x in EDGES.values()] == documented


@BY_NAME
def test_offsets_beyond_32_bits_are_followed(implementation):
    """Images 2^30 elements apart, of which only a few pages of memory are ever touched."""
    case = Case((4, 3, 5, 7), dtype="bfloat16")
    stride = 2**30 + 8
    storage = torch.empty(3 * stride + 105, dtype=torch.bfloat16)
    x = storage.as_strided(case.shape, (stride, 35, 7, 1))
    x.copy_(inputs.sample(case, 0))
    assert oracle.judge(case, implementation.prepare(case)(x), expected_output(case, x)).reason is None


def test_integers_are_no_dtype_of_a_case():
    with pytest.raises(GapbenchError, match="unknown dtype 'int64'; there are: "):
        Case((2, 3, 4, 4), dtype="int64")
