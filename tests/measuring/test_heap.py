from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import heap


@given(st.integers(0, 2**32))
def test_half_of_the_blocks_stay_and_none_is_large(seed):
    kept = heap.shuffle(Random(seed))
    assert len(kept) == 32
    assert all(256 <= len(block) <= 2**20 for block in kept)


def test_every_worker_gets_another_heap():
    sizes = [tuple(map(len, heap.shuffle(Random(f"{7}/{side}")))) for side in range(3)]
    assert len(set(sizes)) == 3
