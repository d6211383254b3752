"""Cases as hypothesis draws them."""

import math

from hypothesis import strategies as st

from gapbench.workloads import inputs
from gapbench.workloads.cases import DTYPES, LAYOUTS, PASSES, Case
from gapbench.workloads.truth import GLOBAL_AVERAGE

AVERAGING = ("forward", "backward", "training")
"""The passes of what has no weights."""

devices = st.sampled_from(["cpu", "cuda", "cuda:0", "cuda:1", "xpu:12", "mps"])
operations = st.sampled_from(["gap", "global_max", "classifier_head", "pooling"])
shapes = st.lists(st.integers(0, 3000), min_size=3, max_size=5).map(tuple)

any_case = st.builds(
    Case,
    shape=shapes,
    dtype=st.sampled_from(list(DTYPES)),
    layout=st.sampled_from(list(LAYOUTS)),
    device=devices,
    pass_=st.sampled_from(list(PASSES)),
    threads=st.integers(1, 256),
    operation=operations,
    label=st.text(),
)
"""Every kind of case, most of them too large to be computed."""

TELLING_SIZES = [1, 2, 3, 5, 7, 8, 9, 13, 31, 63, 64, 65]
"""Primes, powers of two and their neighbours."""


@st.composite
def small_cases(draw, dtypes=tuple(DTYPES), layouts=tuple(LAYOUTS), passes=AVERAGING, largest=2**15) -> Case:
    """Draw a case on the CPU of at most ``largest`` elements, in one to three spatial dimensions."""
    spatial: list[int] = []
    for _ in range(draw(st.integers(1, 3))):
        room = largest // math.prod(spatial)
        spatial.append(draw(st.sampled_from([size for size in TELLING_SIZES if size <= room])))
    n = draw(st.integers(1, 3))
    c = draw(st.sampled_from([1, 2, 3, 8, 17, 64]))
    room = max(1, largest // math.prod(spatial))
    c = min(c, room)
    return Case(
        shape=(min(n, max(1, room // c)), c, *spatial),
        dtype=draw(st.sampled_from(dtypes)),
        layout=draw(st.sampled_from(layouts)),
        pass_=draw(st.sampled_from(passes)),
    )


def upstream(case: Case, seed: int):
    """Return a gradient of the means."""
    return inputs.upstream(case, seed, GLOBAL_AVERAGE.shape(case))


def expected_output(case: Case, x, gradient=None):
    """Return the mean of each row in float64, or the gradient of x."""
    return GLOBAL_AVERAGE.forward(case, x) if case.pass_ == "forward" else GLOBAL_AVERAGE.backward(case, x, gradient)
