import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.sharding import deal
from gapbench.measuring.trimming import estimate

EFFORT = Effort()
shapes = st.tuples(st.integers(1, 64), st.integers(1, 2048), st.integers(1, 112), st.integers(1, 112))
specs = st.sets(st.sampled_from(["sum_scale", "adaptive", "compiled_mean"]))


@st.composite
def plans(draw, least=1):
    """Draw contests of very different lengths, each of another case."""
    drawn = draw(st.lists(st.tuples(shapes, specs), min_size=least, max_size=30, unique_by=lambda one: one[0]))
    return [
        Contest("test", Case(shape), {"mean": "mean", **{name: name for name in sorted(more)}}) for shape, more in drawn
    ]


@given(plans(), st.data())
def test_every_case_is_in_exactly_one_shard_and_no_shard_is_empty(contests, data):
    count = data.draw(st.integers(1, len(contests)))
    hands = deal(contests, EFFORT, count)
    assert len(hands) == count
    assert sorted(index for hand in hands for index in hand) == list(range(len(contests)))
    assert all(hand and hand == sorted(hand) for hand in hands)
    assert deal(contests, EFFORT, count) == hands


@given(plans(least=2), st.data())
def test_no_shard_could_give_a_case_away_and_be_done_before_the_one_that_takes_it(contests, data):
    hands = deal(contests, EFFORT, data.draw(st.integers(2, len(contests))))
    costs = [estimate(contest, EFFORT) for contest in contests]
    loads = [sum(costs[index] for index in hand) for hand in hands]
    for hand, load in zip(hands, loads, strict=True):
        assert load - min(costs[index] for index in hand) <= min(loads) * (1 + 1e-9)


@given(plans(), st.integers(1, 5))
def test_more_shards_than_cases_are_refused(contests, more):
    with pytest.raises(GapbenchError, match=rf"too many: the selection has {len(contests)} cases"):
        deal(contests, EFFORT, len(contests) + more)
