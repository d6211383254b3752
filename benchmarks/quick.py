"""How soon does `gapbench run quick` know how much? Wall time, the share of it that is timed, and how sure ratios are.

    python benchmarks/quick.py --runs 3
    python benchmarks/quick.py --cold            (as on a new machine: nothing is compiled yet)
    python benchmarks/quick.py --seven           (beside it, seven suites in five minutes: how many cases)

Ratios are to the fastest implementation of a case, computed anew from samples.parquet: of each round
`stats.round_log_ratio`, then the location over rounds and half the width of its 95 % interval. Those within 1.5x of the
fastest count. Runs go to a scratch folder.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd

from gapbench.statistics import stats
from gapbench.store.store import Store

SEVEN = ("heads", "layouts", "backward", "pooling", "classifier_head", "ranks")
CLOSE = 1.5
_MEASURED = (0, 3)
"""Exit codes of a run that measured: 3 says that an implementation was wrong or failed."""


def gapbench(folder: Path, *words: str, variables: Mapping[str, str] | None = None) -> tuple[Store, str, float]:
    """Run ``gapbench run`` in ``folder``; return the store, the run's id, and the wall seconds of the process."""
    command = [sys.executable, "-m", "gapbench", "run", *words, "--json"]
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(variables or {})}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in _MEASURED:
        raise click.ClickException(f"{' '.join(command)} exited with {done.returncode}; its error is above")
    return Store(str(folder / "results")), json.loads(done.stdout)["run"], time.monotonic() - started


def half_widths(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the implementations within `CLOSE` of the fastest of their case, without that one.

    Columns: case, implementation, ratio (to the fastest), half_width (of its logarithm; infinite without an interval).
    """
    rows = []
    for (case, *_), frame in samples.groupby(["case", "clock", "memory"], dropna=False):
        turns = frame.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call")
        rounds = [values.to_numpy(dtype=float) for _, values in turns.groupby("round")]
        fastest = turns.groupby("round").quantile(stats.UNDISTURBED).median().idxmin()
        of_fastest = turns.columns.get_loc(fastest)
        for column, name in enumerate(turns.columns):
            if name == fastest:
                continue
            ratios = np.array([stats.round_log_ratio(values[:, column], values[:, of_fastest]) for values in rounds])
            ratio = stats.location(ratios[~np.isnan(ratios)])
            if ratio.estimate <= np.log(CLOSE):  # not nan: those that never met the fastest are far from it
                rows.append((case, name, float(np.exp(ratio.estimate)), float(ratio.half_width)))
    return pd.DataFrame(rows, columns=["case", "implementation", "ratio", "half_width"])


def certainty(found: pd.DataFrame) -> dict[str, object]:
    """Return which share of ratios is known to 1 % and to 2 %, and how well the worst is (None: no interval)."""
    if found.empty:
        return {"ratios": 0, "within_1": None, "within_2": None, "worst": None, "worst_row": None}
    worst = found.loc[found["half_width"].idxmax()]
    return {
        "ratios": len(found),
        "within_1": float((found["half_width"] <= 0.01).mean()),
        "within_2": float((found["half_width"] <= 0.02).mean()),
        "worst": float(np.expm1(worst["half_width"])) if np.isfinite(worst["half_width"]) else None,
        "worst_row": f"{worst['implementation']} of {worst['case']}",
    }


def describe(store: Store, run: str, wall: float) -> dict[str, object]:
    """Return what one run of `quick` came to; ``timed`` is the share of the engine's wall time inside timed batches."""
    known, samples, results = store.describe(run), store.samples([run]), store.results([run])
    ok = results[(results["status"] == "ok") & results["ranked"]]
    samples = samples.merge(ok[["case", "implementation", "clock"]].drop_duplicates())
    timed = known.timed_seconds / known.wall_seconds if known.timed_seconds and known.wall_seconds else None
    return {"run": run, "wall_seconds": wall, "timed": timed, **certainty(half_widths(samples))}


def measured_cases(store: Store, run: str) -> dict[str, object]:
    """Return how many cases were begun, have a time, and reached the target."""
    results = store.results([run])
    timed = results[results["seconds"].notna()]
    return {
        "run": run,
        "begun": len({one.case for one in store.describe(run).plan}),
        "measured": int(timed["case"].nunique()),
        "by_suite": {str(suite): int(count) for suite, count in timed.groupby("suite")["case"].nunique().items()},
        "to_the_target": int(timed[timed["stopped_by"] == "target"]["case"].nunique()),
    }


def show(runs: Sequence[Mapping[str, object]], seven: Mapping[str, object] | None) -> str:
    """Return the tables for people."""
    rows = [
        {
            "wall s": f"{one['wall_seconds']:.1f}",
            **{name: _share(one[name]) for name in ("timed", "within_1", "within_2")},
            "ratios": one["ratios"],
            "worst": "no interval" if one["worst"] is None else f"±{one['worst']:.1%}",
            "of": one["worst_row"],
        }
        for one in runs
    ]
    lines = [pd.DataFrame(rows).to_string(index=False)] if rows else []
    if seven:
        by_suite = ", ".join(f"{suite} {count}" for suite, count in seven["by_suite"].items())  # type: ignore[attr-defined]
        lines.append(
            f"seven suites in {seven['wall_seconds']:.0f} s: {seven['measured']} cases measured of {seven['begun']} "
            f"that were begun, {seven['to_the_target']} to the target ({by_suite})"
        )
    return "\n".join(lines)


def _share(value: object) -> str:
    return "–" if value is None else f"{value:.0%}"  # noqa: RUF001


@click.command()
@click.option("--runs", "count", default=1, show_default=True, help="Runs of quick.")
@click.option("--budget", default="60s", show_default=True, help="Of each.")
@click.option("--cold", is_flag=True, help="Give each run an empty cache of compiled code.")
@click.option("--seven", is_flag=True, help="Measure seven suites within five minutes, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(count: int, budget: str, cold: bool, seven: bool, as_json: bool) -> None:
    """Run quick and say what it came to."""
    runs: list[dict[str, object]] = []
    suites: dict[str, object] | None = None
    with tempfile.TemporaryDirectory(prefix="gapbench-quick-") as scratch:
        for number in range(count):
            cache = {"TORCHINDUCTOR_CACHE_DIR": str(Path(scratch, f"cache-{number}"))} if cold else {}
            words = ("quick", "--budget", budget, "--seed", str(number))
            runs.append(describe(*gapbench(Path(scratch), *words, variables=cache)))
        if seven:
            store, run, wall = gapbench(Path(scratch), *SEVEN, "--budget", "5m")
            suites = {**measured_cases(store, run), "wall_seconds": wall}
    click.echo(json.dumps({"quick": runs, "seven": suites}, indent=1) if as_json else show(runs, suites))


if __name__ == "__main__":
    main()
