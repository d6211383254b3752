"""The search for a commit, on made-up histories with steps, noise and broken commits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.statistics.bisection import CLEAR, CONFIDENT, FEWEST_ROUNDS, Search
from gapbench.statistics.verdicts import Verdict, decide, paired

COMMITS = 128
MARGIN = 0.01


def found(search, measure):
    """Search with ``measure`` until it ends; return the best range and its probability."""
    while (commit := search.next_commit()) is not None:
        search.add(commit, measure(commit))
    return search.best()


class History:
    """Commits whose log times differ by a step at ``culprit``; a reading has rounds with scatter and outliers."""

    def __init__(self, rng, culprit, step=np.log(1.03), broken=(), rounds=20):
        self.rng, self.broken, self.rounds = rng, set(broken), rounds
        self.culprit, self.step = culprit, step
        self.scatter = rng.uniform(0.005, 0.01)  # of a round's log ratio
        self.readings = 0

    def level(self, commit):
        return self.step if self.culprit and commit >= self.culprit else 0.0

    def times(self, *commits, rounds=None):
        """Return a log time for each round and commit, of which a tenth has an outlier."""
        shape = rounds or self.rounds, len(commits)
        levels = np.array([self.level(commit) for commit in commits])
        outliers = (self.rng.random(shape) < 0.05) * self.rng.normal(0, 0.1, shape)
        return levels + self.rng.normal(0, self.scatter / 2**0.5, shape) + outliers

    def ratios(self, base, head):
        times = self.times(base, head)
        return times[:, 1] - times[:, 0]

    def judged(self, base, head):
        """Judge two commits as `ab` does, in two stages; return the verdict and the interval of the fresh rounds."""
        first, fresh = (paired(self.ratios(base, head), np.log1p(MARGIN)) for _ in range(2))
        (judgement,) = decide([first], [fresh])
        return judgement.verdict, fresh.change

    def reading(self, search):
        def measure(commit):
            self.readings += 1
            if commit in self.broken:
                return None
            positions = np.empty(0)
            for times in self.times(0, commit, COMMITS):
                positions = np.append(positions, times[1] - (times[0] + times[2]) / 2)
                if len(positions) >= FEWEST_ROUNDS and abs(search.log_odds(positions)) > CLEAR:
                    break
            return positions

        return measure

    def bisect(self):
        """Return the commit, None if none was decided, and ``none`` where the ends do not differ."""
        verdict, change = self.judged(0, COMMITS)
        if verdict not in (Verdict.REGRESSED, Verdict.IMPROVED):
            return "none", None
        search = Search(COMMITS, change.estimate)
        first, last, probability = found(search, self.reading(search))
        if probability < CONFIDENT or first < last:
            return None, search
        ratio = self.judged(first - 1, first)[1]
        return first if (ratio.low if change.estimate > 0 else -ratio.high) > 0 else None, search


def simulate(count, step, seed, with_step=True):
    """Return the share of histories that were right and wrong, and the mean number of readings."""
    outcomes, readings = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        history = History(rng, int(rng.integers(1, COMMITS + 1)) if with_step else None, step)
        answer, _ = history.bisect()
        right = answer == (history.culprit if with_step else "none")
        outcomes.append("right" if right else "undecided" if answer in (None, "none") else "wrong")
        readings.append(history.readings)
    return outcomes.count("right") / count, outcomes.count("wrong") / count, float(np.mean(readings))


@pytest.mark.parametrize("step", [np.log(1.03), -np.log(1.03)])
def test_a_step_of_3_percent_in_128_commits_is_attributed(step):
    right, wrong, readings = simulate(120, step, 1)
    assert right >= 0.95
    assert wrong <= 0.01
    assert readings < 30


def test_without_a_step_nothing_is_blamed():
    right, wrong, _ = simulate(120, 0.0, 2, with_step=False)
    assert right >= 0.99
    assert wrong == 0


@given(culprit=st.integers(1, COMMITS), broken=st.sets(st.integers(1, COMMITS - 1), max_size=100), seed=st.integers(0))
def test_broken_commits_are_skipped_and_not_blamed(culprit, broken, seed):
    history = History(np.random.default_rng(seed), culprit, np.log(1.3), broken)
    history.scatter = 0.001
    answer, search = history.bisect()
    assert search.skipped <= broken
    first, last, probability = search.best()
    assert probability >= CONFIDENT
    assert first <= culprit <= last
    assert set(range(first, last)) <= broken
    assert answer == (culprit if first == last else None)


def test_where_all_between_are_broken_it_is_one_of_them():
    search = Search(5, 0.1)
    assert found(search, lambda _commit: None) == (1, 5, pytest.approx(1))
    assert (search.measured, search.skipped) == (set(), {1, 2, 3, 4})


def test_one_commit_is_the_culprit_without_a_reading():
    assert found(Search(1, 0.1), lambda _commit: pytest.fail("nothing to measure")) == (1, 1, 1.0)


def test_readings_between_the_levels_decide_nothing_and_end():
    assert found(Search(100, 0.1), lambda _commit: np.zeros(10))[2] < CONFIDENT


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0.01, 1), st.integers(1, 7))
def test_a_reading_cannot_be_decisive_alone_and_mirrors(positions, step, commit):
    positions = np.array(positions)
    slower, faster = Search(8, step), Search(8, -step)
    slower.add(commit, positions)
    faster.add(commit, -positions)
    assert slower.posterior() == pytest.approx(faster.posterior())
    weights = slower.posterior()
    assert weights.sum() == pytest.approx(1)
    assert weights.max() / weights.min() <= 100


def test_more_rounds_say_more_and_an_outlier_is_not_decisive():
    search = Search(8, 0.03)
    rounds = np.random.default_rng(0).normal(0.015, 0.007, 24)
    assert search.log_odds(rounds) > search.log_odds(rounds[:6]) > 0
    assert search.log_odds(np.append(rounds[:6], -3.0)) > 0
    assert search.log_odds(np.full(8, 5.0)) == search.log_odds(np.full(8, 0.015))
