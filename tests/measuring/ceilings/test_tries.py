import itertools

import pytest
from simulated.virtual_time import HostTime

from gapbench.measuring.ceilings.cpu import SHORTEST_TRY, RepeatedMeasurement, best_of
from gapbench.measuring.clocks import base


@pytest.fixture
def host(monkeypatch):
    host = HostTime()
    monkeypatch.setattr(base, "perf_counter_ns", host.perf_counter_ns)
    return host


def working(host, nbytes=10_000, bandwidth=10e9, overhead=1e-6, factors=(1.0,)):
    """Return tries of work on a machine that slows each down by the next of ``factors``."""
    slowed = itertools.cycle(factors)
    return RepeatedMeasurement(
        nbytes, lambda repeats: host.spend((overhead + repeats * nbytes / bandwidth) * next(slowed))
    )


def test_tries_are_made_long_enough_that_starting_them_does_not_count(host):
    tries = working(host)
    tries.visit(10e-3)
    assert tries.repeats * 1e-6 >= SHORTEST_TRY
    assert tries.gbps == pytest.approx(10, rel=0.01)
    assert tries.is_reproducible


def test_a_slow_spell_does_not_count(host):
    tries = working(host, factors=[1.7, 1.0, 2.5, 1.9, 1.0])
    best_of([tries], 3, 1.0)
    assert tries.gbps == pytest.approx(10, rel=0.01)


def test_a_best_that_does_not_recur_is_tried_again_until_time_is_up(host):
    tries = working(host, factors=[2**-k for k in range(40)])  # each faster than the one before
    best_of([tries], 1, 0.01)
    assert not tries.is_reproducible
    busy, quiet = working(host, factors=[1 + 0.1 * k for k in range(50)]), working(host)
    best_of([busy, quiet], 2, 0.2)
    assert len(busy.rates) > 2 * len(quiet.rates)


def test_a_visit_has_some_tries_however_long_each_takes(host):
    tries = working(host, nbytes=10**9)
    assert not tries.is_reproducible
    tries.visit(0.0)
    assert len(tries.rates) == 2


def test_a_best_below_what_is_possible_never_recurs(host):
    tries = working(host)
    tries.least = 10.5e9
    best_of([tries], 2, 0.1)
    assert tries.gbps == pytest.approx(10, rel=0.01)
    assert not tries.is_reproducible
