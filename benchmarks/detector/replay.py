"""How good is the detector? Whole diffs of recorded rounds, decided again and again: false alarms, power, other rules.

    python benchmarks/detector/replay.py idle.parquet busy.parquet --truth idle.json --truth busy.json -o replay.json

Every diff is resampled: its rounds are real, drawn from one recording as contiguous windows from a random start for
each case (see `staged`). The intervals of shares are Clopper-Pearson, for the number of diffs or rows drawn; draws
from one recording share its rounds, so they do not tell how another recording would differ: take several.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pool as pools
import summaries
from ablations import ablations
from pool import Pool, Row
from rules import RULES, Rule
from staged import Found, Plan, Procedure, two_stages, window

from gapbench.statistics.verdicts import Verdict

COMPARED = (2, 3, 5, 10)


def simulate(procedure: Procedure, pool: Pool, level: int, changed: int, diffs: int, seed: int) -> pd.DataFrame:
    """Decide ``diffs`` whole diffs in which ``changed`` random cases are at ``level``; return a row per diff and case.

    Columns: diff, case, changed, verdict, change, low, high (logs; nan where the procedure gives no interval).
    """
    rows = []
    for diff in range(diffs):
        rng = np.random.default_rng([seed, level, changed, diff])
        chosen = set(rng.choice(pool.cases, changed, replace=False)) if changed else set()
        drawn = pool.diff(level, sorted(chosen))
        for row, found in zip(drawn, procedure(drawn, rng), strict=True):
            change = found.change
            interval = (np.nan,) * 3 if change is None else (change.estimate, change.low, change.high)
            rows.append((diff, row.case, row.case in chosen, found.verdict, *interval))
    frame = pd.DataFrame(rows, columns=["diff", "case", "changed", "verdict", "change", "low", "high"])
    return frame.astype({"change": float, "low": float, "high": float})


def as_used(rule: Rule, processes: int, later: bool) -> Procedure:
    """Return another tool's decision on each row: head's processes right after base's (``later``), or the same rounds.

    The first is how the tools measure, one side after the other; the second lends them gapbench's alternation.
    """
    decided: dict[tuple[Row, int], Found] = {}

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        found = []
        for row in rows:
            start = int(rng.integers(row.rounds))
            if (row, start) not in decided:
                head = window(row.head, start + (processes if later else 0), processes)
                sign = rule.decide(window(row.base, start, processes), head)
                verdict = {1: Verdict.REGRESSED, -1: Verdict.IMPROVED, 0: Verdict.INCONCLUSIVE}[sign]
                decided[row, start] = Found(verdict)
            found.append(decided[row, start])
        return found

    return decide


def false_alarms(procedure: Procedure, pool: Pool, diffs: int, seed: int) -> pd.DataFrame:
    """Return the findings of diffs of identical code."""
    return simulate(procedure, pool, 0, 0, diffs, seed)


def power(pool: Pool, plan: Plan, diffs: int, seed: int) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """Yield level, number of changed cases, and findings, for 1, 5 and all cases."""
    procedure = two_stages(plan)
    for level in pool.levels[1:]:
        for changed in sorted({min(count, len(pool.cases)) for count in (1, 5, len(pool.cases))}):
            yield level, changed, simulate(procedure, pool, level, changed, diffs, seed)


def compared(pool: Pool, plan: Plan, diffs: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield a row for gapbench, each ablation and each rule: false alarms, and how often a lone change is found."""
    for name, procedure in ablations(plan).items():
        trials = _trials(procedure, pool, diffs, seed)
        yield {"rule": name, "rounds": plan.rounds, "order": None} | summaries.summary(*trials)
    for rule in RULES:
        for processes in dict.fromkeys((rule.processes, min(plan.rounds, pool.rounds // 2))):
            for later in (True, False):
                trials = _trials(as_used(rule, processes, later), pool, diffs, seed)
                order = "head after base" if later else "alternating"
                yield {"rule": rule.name, "rounds": processes, "order": order} | summaries.summary(*trials)


def _trials(procedure: Procedure, pool: Pool, diffs: int, seed: int) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
    levels = [level for level in pool.levels if level in COMPARED]
    found = {level: simulate(procedure, pool, level, 1, diffs, seed) for level in levels}
    return false_alarms(procedure, pool, diffs, seed), found


def truths(path: Path | None, pool: Pool) -> tuple[dict[tuple[str, int], float], str]:
    """Return the log of each case's and level's true ratio, and where it is from: measured, or only intended."""
    if path is None:
        return {key: float(np.log1p(key[1] / 100)) for key in pool.rows}, "the level as intended, not measured"
    listed = json.loads(path.read_text(encoding="utf-8"))["truths"]
    return {(one["case"], one["level"]): one["log_ratio"] for one in listed}, f"measured, {path.name}"


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--truth", "measured", multiple=True, type=click.Path(exists=True, path_type=Path), help="One a recording."
)
@click.option("--seconds", default=60.0, show_default=True, help="Wall time of a whole diff, starting included.")
@click.option("--implementations", default=1, show_default=True, help="How many a diff would compare.")
@click.option("--rounds", type=int, help="Rounds a case, instead of as many as fit.")
@click.option("--margin", default=Plan.margin, show_default=True)
@click.option("--level", default=Plan.level, show_default=True)
@click.option("--flagged", default=Plan.flagged, show_default=True, help="One-sided p that sends a row on.")
@click.option(
    "--first-share", default=Plan.first_share, show_default=True, help="Share of the time in the first stage."
)
@click.option("--most", default=Plan.most, show_default=True, help="Most rounds of a row in the second stage.")
@click.option("--diffs", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "output", type=click.Path(path_type=Path), help="Write all tables as JSON.")
def main(
    recordings: tuple[Path, ...],
    measured: tuple[Path, ...],
    seconds: float,
    implementations: int,
    rounds: int | None,
    margin: float,
    level: float,
    flagged: float,
    first_share: float,
    most: int,
    diffs: int,
    seed: int,
    output: Path | None,
) -> None:
    """Replay diffs from RECORDINGS and print the tables of docs/diff.md."""
    if measured and len(measured) != len(recordings):
        raise click.UsageError(f"{len(measured)} --truth for {len(recordings)} recordings; give one each, or none")
    document = {}
    for index, path in enumerate(recordings):
        pool = pools.read(path)
        fit = summaries.fitting(pool, seconds)
        total = rounds or next((one["rounds"] for one in fit if one["implementations"] == implementations), None)
        if not total:
            raise click.UsageError(f"{path.name} does not say what a round takes; give --rounds")
        plan = Plan(total, first_share, flagged, margin, level, most)
        if plan.first >= pool.rounds:
            raise click.UsageError(f"{path.name} has {pool.rounds} rounds, too few for {plan.first} and fresh ones")
        truth, source = truths(measured[index] if measured else None, pool)
        identical = false_alarms(two_stages(plan), pool, diffs, seed)
        trials = list(power(pool, plan, diffs, seed))
        found = {
            "rounds that fit": fit,
            "identical code": [summaries.identical(identical)],
            "power": [summaries.power(level, changed, frame) for level, changed, frame in trials],
            "accuracy": summaries.accuracy(trials, identical, truth),
            "rules": list(compared(pool, plan, diffs, seed)),
        }
        document[path.name] = {
            "attributes": dict(pool.attributes),
            "plan": {name: getattr(plan, name) for name in Plan.__dataclass_fields__},
            "diffs": diffs,
            "truth": source,
            "tables": found,
        }
        click.echo(f"## {path.name}\n\n{summaries.caption(pool, plan, diffs, source)}\n")
        for title, rows in found.items():
            click.echo(f"### {title}\n\n{summaries.markdown(rows)}\n")
    if output:
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
