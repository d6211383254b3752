"""The memory that a call needs at once, from the events of a profile."""

from hypothesis import given
from hypothesis import strategies as st
from recorded import MEAN_OF_BFLOAT16, TEMPORARY_BYTES

from gapbench.profiling.events import MEMORY, Event
from gapbench.profiling.sampling import peak


def test_the_peak_of_a_mean_is_its_copy_and_its_output():
    assert peak(MEAN_OF_BFLOAT16) == TEMPORARY_BYTES + 4096


def test_nothing_recorded_is_nothing():
    assert peak([]) == 0


@given(st.lists(st.integers(-100, 100), max_size=50), st.randoms(use_true_random=False))
def test_the_peak_is_that_of_the_events_in_their_order(sizes, random):
    events = [Event(MEMORY, start, nbytes=size) for start, size in enumerate(sizes)]
    events.append(Event("aten::mean", 0, nbytes=10**6))
    random.shuffle(events)
    assert peak(events) == max(sum(sizes[:end]) for end in range(len(sizes) + 1))
