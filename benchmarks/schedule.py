"""Which batch length and which estimator? The spread of the per-round log ratio of identical code, and efficiency.

    python benchmarks/schedule.py --budget 60 --repeat 2 --batch-ms 0.25 0.5 1

Every case has two contenders that are the same implementation (the true ratio is 1) and one that differs. Batch lengths
take turns, so that all see the machine's moods. Estimators are compared on the same samples, by the standard deviation
over rounds of the log ratio in percent, median over cases: identical code | different code.
"""

import argparse
import tempfile
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats
from workloads import CASES

from gapbench.measuring import recording
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.statistics import stats
from gapbench.store.store import Store

Estimator = Callable[[np.ndarray, np.ndarray], float]

ESTIMATORS: dict[str, Estimator] = {
    "ratio of fastest tenths": lambda a, b: stats.round_log_ratio(np.exp(b), np.exp(a)),
    "ratio of fastest quarters": lambda a, b: float(np.quantile(b, 0.25) - np.quantile(a, 0.25)),
    "Hodges-Lehmann of pairs": lambda a, b: stats.location(b - a).estimate,
    "median of pairs": lambda a, b: float(np.median(b - a)),
    "20 % trimmed mean of pairs": lambda a, b: float(scipy_stats.trim_mean(b - a, 0.2)),
    "mean of pairs": lambda a, b: float(np.mean(b - a)),
    "ratio of medians": lambda a, b: float(np.median(b) - np.median(a)),
    "ratio of minima": lambda a, b: float(np.min(b) - np.min(a)),
}


def measure(batch_seconds: float, budget: float, seed: int) -> recording.Recording:
    plans = [CasePlan("aa", case, {"mean": "mean", "mean_again": "mean", "sum_scale": "sum_scale"}) for case in CASES]
    effort = Effort(budget=budget, target=1e-6, seed=seed, batch_seconds=batch_seconds, race=False)
    with tempfile.TemporaryDirectory() as folder:
        writer = recording.begin(Store(folder), plans, effort, [])
        return recording.record(writer, Plan(tuple(plans), effort))


def log_ratios(samples: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one row per case and round, one column per estimator of the log ratio of ``name`` to mean."""
    wide = np.log(samples.pivot(index=["case", "round", "turn"], columns="implementation", values="seconds_per_call"))
    rows = {  # of the turns that both took: who is slow takes part less often
        key: {e: estimate(turns["mean"].to_numpy(), turns[name].to_numpy()) for e, estimate in ESTIMATORS.items()}
        for key, turns in wide[["mean", name]].dropna().groupby(["case", "round"])
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _spread(per_round: pd.DataFrame, estimator: str) -> str:
    return f"{100 * per_round[estimator].groupby(level=0).std().median():.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a run")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--batch-ms", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    options = parser.parse_args()
    rows = []
    for repeat in range(options.repeat):
        for milliseconds in options.batch_ms:
            recorded = measure(milliseconds * 1e-3, options.budget, seed=repeat)
            same = log_ratios(recorded.samples, "mean_again")
            other = log_ratios(recorded.samples, "sum_scale")
            rounds = same.groupby(level=0).size()
            ok = recorded.results[recorded.results["implementation"] == "mean_again"]
            half_width = (np.log(ok["ratio_high"]) - np.log(ok["ratio_low"])) / 2
            rows.append(
                {
                    "batch ms": milliseconds,
                    "rounds a case": rounds.median(),
                    "efficiency %": 100 * recorded.run.timed_seconds / recorded.run.wall_seconds,
                    "cases within 1 %": f"{(half_width <= 0.01).sum()}/{len(half_width)}",
                    "intervals with 1": f"{((ok['ratio_low'] <= 1) & (ok['ratio_high'] >= 1)).sum()}/{len(ok)}",
                    **{name: f"{_spread(same, name)} | {_spread(other, name)}" for name in ESTIMATORS},
                }
            )
            print(pd.DataFrame(rows).round(2).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
