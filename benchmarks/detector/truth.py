"""The true ratio of each case and level, without gapbench's engine: both commits in one process, many processes.

    python benchmarks/detector/truth.py FOLDER --neighbour busy -o busy.json

Batches of about 0.25 ms alternate in random order. A process gives the median of its turns' log ratios, and the median
over fresh processes is the truth, with the interval that order statistics give. In one process base and head share
its memory's placement, so processes agree far better than those of ``gapbench ab``.
"""

import json
import random
from collections import defaultdict
from pathlib import Path

import click
import fresh
import numpy as np
import subject
from neighbour import NEIGHBOURS, neighbour

BATCH_SECONDS = 0.25e-3


def log_ratios(base: str, head: str, case_id: str, turns: int, seed: int) -> list[float]:
    """Return for each level the median over ``turns`` of log(head / base) in this process, given both sources."""
    rng = random.Random(seed)
    names = [f"pool_{level}" for level in subject.LEVELS]
    calls = list(zip(*fresh.bound((base, head), names, subject.CASES[case_id], seed), strict=True))
    count = fresh.calls_within(calls[0][0], BATCH_SECONDS)
    logs: dict[int, list[float]] = defaultdict(list)
    for turn in range(-1, turns):  # the first warms up
        for level in rng.sample(range(len(calls)), len(calls)):
            took = {side: fresh.batch(calls[level][side], count) for side in rng.sample((0, 1), 2)}
            if turn >= 0:
                logs[level].append(float(np.log(took[1] / took[0])))
    return [float(np.median(logs[level])) for level in range(len(calls))]


def median(values: list[float]) -> dict[str, float | None]:
    """Return the median with its 95 % interval from order statistics (None where there are too few)."""
    from scipy.stats import quantile_test

    interval = quantile_test(values, p=0.5).confidence_interval(0.95)
    low, high = (float(bound) if np.isfinite(bound) else None for bound in (interval.low, interval.high))
    return {"log_ratio": float(np.median(values)), "low": low, "high": high}


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--processes", default=40, show_default=True, help="Fresh processes a case.")
@click.option("--turns", default=40, show_default=True)
@click.option("--neighbour", "kind", type=click.Choice(NEIGHBOURS), default="none", show_default=True)
@click.option("-o", "output", required=True, type=click.Path(path_type=Path))
def main(folder: Path, processes: int, turns: int, kind: str, output: Path) -> None:
    """Measure the commits of FOLDER, which `subject` made."""
    base, head = (subject.git(folder, "show", f"{commit}:{subject.FILE}") for commit in ("HEAD~1", "HEAD"))
    cases = list(subject.CASES)
    jobs = [(base, head, case_id, turns, seed) for seed in range(processes) for case_id in cases]
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    with neighbour(kind):
        for (_, _, case_id, *_), found in zip(jobs, fresh.each(log_ratios, jobs), strict=True):
            for level, value in zip(subject.LEVELS, found, strict=True):
                values[case_id, level].append(value)
    truths = [{"case": case, "level": level, **median(found)} for (case, level), found in values.items()]
    document = {"neighbour": kind, "processes": processes, "turns": turns, "truths": truths}
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for one in truths:
        click.echo(f"{one['case']:55} {one['level']:3} % {np.expm1(one['log_ratio']):+8.2%}")


if __name__ == "__main__":
    main()
