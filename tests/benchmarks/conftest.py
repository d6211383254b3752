"""The detector's scripts, which are no package, and pools that never happened: known changes and noise."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "detector"))

import pool as pools


def samples(
    levels=(0, 5), cases=12, rounds=60, turns=6, process_noise=0.0, turn_noise=0.0, spells=0.0, nulls=0, seed=0, **facts
):
    """Return a recording in which level k does exactly k % more.

    A process shifts each side by ``process_noise`` (a log); a batch scatters by ``turn_noise``; whole turns by
    ``spells``, both sides alike. The first ``nulls`` cases have a hidden copy of base.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for case in range(cases):
        for level in levels:
            spell = rng.normal(0, spells, (rounds, turns))
            contenders = ["base", "head"] + ["null"] * (case < nulls)
            for contender in contenders:
                log = np.log(1e-5) + spell + rng.normal(0, turn_noise, (rounds, turns))
                log += rng.normal(0, process_noise, (rounds, 1)) + (contender == "head") * np.log1p(level / 100)
                frames.append(
                    pd.DataFrame(
                        {
                            "case": f"case{case:02}", "implementation": f"pool_{level}", "contender": contender,
                            "clock": "host", "round": np.repeat(np.arange(rounds), turns),
                            "turn": np.tile(np.arange(turns), rounds), "calls": 25,
                            "seconds_per_call": np.exp(log).ravel(),
                        }
                    )
                )  # fmt: skip
    frame = pd.concat(frames, ignore_index=True)
    frame.attrs = facts
    return frame


@pytest.fixture(scope="session")
def recorded():
    """Return `samples`, for tests that need the frame."""
    return samples


@pytest.fixture(scope="session")
def quiet():
    """Return a pool without noise."""
    return pools.from_samples(samples(levels=(0, 1, 2, 5), nulls=4))


@pytest.fixture(scope="session")
def noisy():
    """Return a pool with processes that differ by 2 % and spells of 20 %."""
    return pools.from_samples(samples(levels=(0, 2, 5, 10), process_noise=0.02, turn_noise=0.01, spells=0.2, turns=8))
