import itertools
import os
import socket
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.measuring.messages import Line
from gapbench.measuring.relay import ALONE, Relay, merged


@given(st.integers(1, 4).flatmap(lambda sides: st.tuples(st.just(sides), st.lists(st.integers(0, sides - 1)))))
@settings(max_examples=60)
def test_steps_are_taken_in_order_by_their_owners_one_at_a_time(drawn):
    sides, owners = drawn
    pipes = [os.pipe() for _ in range(sides)]
    taken, at_work = [], threading.Semaphore(1)

    def work(side):
        outboxes = {other: pipes[other][1] for other in range(sides) if other != side}
        relay = Relay(None, side, pipes[side][0], outboxes)
        for half in (0, 1):
            for place in relay.own(owners):
                assert at_work.acquire(blocking=False)
                taken.append((half, place, side))
                at_work.release()

    threads = [threading.Thread(target=work, args=(side,)) for side in range(sides)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for descriptor in itertools.chain.from_iterable(pipes):
        os.close(descriptor)
    assert taken == [(half, place, owner) for half in (0, 1) for place, owner in enumerate(owners)]


def test_who_waits_for_the_dead_ends_quietly():
    inbox, outbox = os.pipe()
    os.close(outbox)
    steps = Relay(None, 1, inbox, {0: os.dup(1)}).own([0, 1])
    try:
        next(steps)
    except SystemExit:
        return
    raise AssertionError("went on without the baton")


def test_alone_every_step_is_ones_own():
    assert list(ALONE.own([0, 0, 0])) == [0, 1, 2]
    assert ALONE.agree({0: (3, 1e-3)}) == {0: (3, 1e-3)}


def test_sides_agree_through_the_parent_and_move_to_one_core():
    ours, theirs = (Line(one.detach()) for one in socket.socketpair())
    before = os.sched_getaffinity(0)
    core = max(before)
    found = {}

    def agree():
        relay = Relay(theirs, 0, -1, {1: -1}, core)
        found["agreed"] = relay.agree({0: (7, 2e-3)})
        found["cores"] = os.sched_getaffinity(0)

    thread = threading.Thread(target=agree)
    thread.start()
    ours.send(merged([ours.recv(), {0: (9, 1e-3)}]))
    thread.join(timeout=30)
    assert found == {"agreed": {0: (9, 3e-3)}, "cores": {core}}
    assert os.sched_getaffinity(0) == before  # only the thread that computes


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(1e-6, 1)), min_size=1, max_size=3))
def test_all_sides_take_the_longest_batches_and_the_turn_is_all_of_theirs(sides):
    agreed = merged([{0: side} for side in sides])
    assert agreed[0][0] == max(calls for calls, _ in sides)
    assert agreed[0][1] == sum(seconds for _, seconds in sides)
