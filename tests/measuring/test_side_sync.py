import itertools
import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.protocol import Agreement, Channel
from gapbench.measuring.side_sync import LEFT_ALONE, SINGLE_PROCESS, TokenSync, merged


@given(st.integers(1, 4).flatmap(lambda sides: st.tuples(st.just(sides), st.lists(st.integers(0, sides - 1)))))
@settings(max_examples=60)
def test_steps_are_taken_in_order_by_their_owners_one_at_a_time(drawn):
    sides, owners = drawn
    pipes = [os.pipe() for _ in range(sides)]
    taken, at_work = [], threading.Semaphore(1)

    def work(side):
        outboxes = {other: pipes[other][1] for other in range(sides) if other != side}
        sync = TokenSync(None, side, pipes[side][0], outboxes, CurrentContender.create())
        for half in (0, 1):
            for position in sync.own(owners):
                assert at_work.acquire(blocking=False)
                taken.append((half, position, side))
                at_work.release()

    threads = [threading.Thread(target=work, args=(side,)) for side in range(sides)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for descriptor in itertools.chain.from_iterable(pipes):
        os.close(descriptor)
    assert taken == [(half, position, owner) for half in (0, 1) for position, owner in enumerate(owners)]


def test_who_waits_for_the_dead_leaves_and_says_that_it_is_not_to_blame():
    inbox, outbox = os.pipe()
    os.close(outbox)
    current = CurrentContender.create()
    current.set(3)
    steps = TokenSync(None, 1, inbox, {0: os.dup(1)}, current).own([0, 1])
    with pytest.raises(SystemExit) as left:
        next(steps)
    assert left.value.code == LEFT_ALONE
    assert current.get() is None


def test_alone_every_step_is_ones_own():
    assert list(SINGLE_PROCESS.own([0, 0, 0])) == [0, 1, 2]
    assert SINGLE_PROCESS.agree({0: (3, 1e-3)}) == {0: (3, 1e-3)}


def test_sides_agree_through_the_parent_and_move_to_one_core():
    ours, theirs = (Channel(end.detach()) for end in socket.socketpair())
    before = os.sched_getaffinity(0)
    core = max(before)
    results = {}

    def agree():
        sync = TokenSync(theirs, 0, -1, {1: -1}, CurrentContender.create(), core)
        results["agreed"] = sync.agree({0: (7, 2e-3)})
        results["cores"] = os.sched_getaffinity(0)

    thread = threading.Thread(target=agree)
    thread.start()
    ours.send(Agreement(merged([ours.wait().calibration, {1: (9, 1e-3)}], 1)))
    thread.join(timeout=30)
    assert results == {"agreed": {0: (9, pytest.approx(2e-3 * 9 / 7)), 1: (9, 1e-3)}, "cores": {core}}
    assert os.sched_getaffinity(0) == before  # only the thread that computes


calibrations = st.dictionaries(st.integers(0, 5), st.tuples(st.integers(1, 1000), st.floats(1e-6, 1)), min_size=1)


@given(st.lists(calibrations, min_size=1, max_size=3), st.integers(1, 3))
def test_all_sides_of_an_implementation_take_the_longest_batches_and_seconds_grow_as_calls(sides, implementations):
    """A contender is of one process, so of one calibration; seconds a call stay what they were."""
    everyone = {index: item for side in sides for index, item in side.items()}
    agreed = merged(sides, implementations)
    assert agreed.keys() == everyone.keys()
    for index, (calls, seconds) in agreed.items():
        of_all_sides = [
            item for other, (item, _) in everyone.items() if other % implementations == index % implementations
        ]
        assert calls == max(of_all_sides)
        assert seconds / calls == pytest.approx(everyone[index][1] / everyone[index][0])
