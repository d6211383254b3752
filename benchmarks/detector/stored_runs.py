"""How good is ``gapbench diff`` of two stored runs? On runs that were simulated, and on recorded ones.

    python benchmarks/detector/stored_runs.py simulate --diffs 300
    python benchmarks/detector/stored_runs.py replay results --base COMMIT --head COMMIT

A simulated run is nested like a real one: rounds in generations (rounds forked from one parent process share its code
placement) in runs (what is common to all rows, to a case, and a row's own). Everything has heavy tails (Student's t),
and rows differ in how noisy they are. Recorded runs are of the two commits that `subject` made: benchmarks/README.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import click
import numpy as np
import pandas as pd
import summaries
from pool import PREFIX

from gapbench.analysis.compare import Side, compare
from gapbench.statistics.stats import Floats
from gapbench.statistics.verdicts import Verdict
from gapbench.store import records
from gapbench.store.records import REFERENCE
from gapbench.store.run import Run
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

CASES = [Case((1, channels, 7, 7)).id for channels in range(1, 13)]
_TAILS = 4.0


@dataclass(frozen=True)
class World:
    """What runs are made of; all noise is a standard deviation of a log.

    ``common`` and ``case`` are shares of the variance between runs that all rows have in common, and those of a case;
    the rest is a row's own. ``state`` is what all implementations of a round share. ``raced`` implementations have
    ``few`` rounds only, and ``past`` earlier runs are in the store.
    """

    implementations: int = 5
    rounds: int = 20
    generations: int = 3
    round_low: float = 0.003
    round_high: float = 0.02
    generation: float = 0.004
    run: float = 0.0075
    common: float = 0.7
    case: float = 0.15
    state: float = 0.01
    raced: int = 1
    few: int = 4
    past: int = 0

    @property
    def names(self) -> list[str]:
        """The implementations, the reference first and those that are raced last."""
        return [REFERENCE, *(f"pool_{number}" for number in range(1, self.implementations))]


def noise(rng: np.random.Generator, deviation: float | Floats, *shape: int) -> Floats:
    """Return heavy-tailed noise of a standard deviation."""
    return rng.standard_t(_TAILS, shape) * (deviation / (_TAILS / (_TAILS - 2)) ** 0.5)


@dataclass(frozen=True)
class Machine:
    """A world's rows: how noisy each is (cases by implementations), by rounds and by runs."""

    world: World
    by_round: Floats
    by_run: Floats

    @classmethod
    def of(cls, world: World, rng: np.random.Generator) -> "Machine":
        """Draw a machine: rounds of rows between the quietest and the noisiest, runs within a factor of about 1.3."""
        shape = len(CASES), world.implementations
        by_round = np.exp(rng.uniform(np.log(world.round_low), np.log(world.round_high), shape))
        return cls(world, by_round, np.exp(rng.normal(0, 0.25, shape)))

    def rounds(self, changes: Floats, rng: np.random.Generator, state: float = 0.0) -> Floats:
        """Return the log times of a run: cases by implementations by rounds.

        Each row takes its ``changes`` times as long, and all of them ``state`` (a log) more.
        """
        world, shape = self.world, (len(CASES), self.world.implementations)
        own = world.run * max(0.0, 1 - world.common - world.case) ** 0.5
        level = np.log(changes) + state + noise(rng, world.run * world.common**0.5)
        level = level + noise(rng, world.run * world.case**0.5, shape[0], 1) + noise(rng, own * self.by_run, *shape)
        placed = noise(rng, world.generation, *shape, world.generations)
        generation = np.arange(world.rounds) % world.generations
        rounds = level[..., None] + placed[..., generation]
        rounds = rounds + noise(rng, world.state, shape[0], 1, world.rounds)
        return rounds + noise(rng, self.by_round[..., None], *shape, world.rounds)

    def run(self, name: str, rounds: Floats) -> Side:
        """Return a run of these `rounds`, but for those that raced implementations were spared."""
        world, shape = self.world, rounds.shape
        generation = np.arange(world.rounds) % world.generations
        kept = np.full(shape[1], world.rounds)
        kept[len(kept) - world.raced :] = world.few
        case, implementation, number = (grid.ravel() for grid in np.indices(rounds.shape))
        there = number < kept[implementation]
        case, implementation, number = case[there], implementation[there], number[there]
        samples = pd.DataFrame(
            {
                "run": name, "case": np.array(CASES)[case], "implementation": np.array(world.names)[implementation],
                "contender": records.THIS, "clock": "host", "memory": "kept", "round": number,
                "process": generation[number], "turn": 0, "seconds_per_call": 1e-5 * np.exp(rounds.ravel()[there]),
            }
        )  # fmt: skip
        rows = pd.DataFrame(product(CASES, world.names), columns=["case", "implementation"])
        is_raced = rows["implementation"].isin(world.names[len(kept) - world.raced :])
        results = rows.assign(
            suite="ci", contender=records.THIS, clock="host", memory="kept", status="ok", reference=REFERENCE,
            stopped_by=np.where(is_raced, "slower", "target"),
        ).reindex(columns=[*records.RESULTS])  # fmt: skip
        return Side(Run(id=name, started=name, ended=name), results.astype(object), samples)


def changed(world: World, what: str, rng: np.random.Generator) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which rows change: a lone one, an implementation in all cases, or all but the reference."""
    rows = np.zeros((len(CASES), world.implementations), dtype=bool)
    measured_in_full = rng.integers(1, max(2, world.implementations - world.raced))
    if what == "one row":
        rows[rng.integers(len(CASES)), measured_in_full] = True
    elif what == "one implementation":
        rows[:, measured_in_full] = True
    elif what == "all but the reference":
        rows[:, 1:] = True
    elif what == "the reference":
        rows[:, 0] = True
    return rows


def simulated(world: World, what: str, level: float, diffs: int, seed: int, state: float = 0.0) -> pd.DataFrame:
    """Return the verdicts of whole diffs, a row each: diff, changed, verdict."""
    frames = []
    for diff in range(diffs):
        rng = np.random.default_rng([seed, diff])
        machine = Machine.of(world, rng)
        same = np.ones((len(CASES), world.implementations))
        past = [machine.run(f"2026{number:04}", machine.rounds(same, rng)) for number in range(world.past)]
        rows = changed(world, what, rng)
        base = machine.run("20269998", machine.rounds(same, rng))
        head = machine.run("20269999", machine.rounds(same + level * rows, rng, state))
        truth = {(case, name): bool(rows[i, j]) for i, case in enumerate(CASES) for j, name in enumerate(world.names)}
        frames.append(_verdicts(diff, base, head, past, truth))
    return pd.concat(frames, ignore_index=True)


def _verdicts(
    diff: int, base: Side, head: Side, past: Sequence[Side], truth: Mapping[tuple[str, str], bool]
) -> pd.DataFrame:
    rows = [
        (diff, truth[row.case, row.implementation], row.verdict, row.ratio_low, row.ratio, row.ratio_high)
        for row in compare(base, head, earlier=past).rows
    ]
    return pd.DataFrame(rows, columns=["diff", "changed", "verdict", "low", "ratio", "high"])


def summary(found: pd.DataFrame) -> dict[str, object]:
    """Return how many diffs have a false red or green, and what became of the rows that changed."""
    injected, others = found[found["changed"]], found[~found["changed"]]
    row: dict[str, object] = {}
    if len(injected):
        row["rows found"] = summaries.share(injected["verdict"] == Verdict.REGRESSED)
        row["any found"] = summaries.share((injected["verdict"] == Verdict.REGRESSED).groupby(injected["diff"]).any())
        row["called equivalent"] = summaries.share(injected["verdict"] == Verdict.EQUIVALENT)
    row["diffs with a false red"] = summaries.share(summaries.any_of(others, Verdict.REGRESSED))
    row["diffs with a false green"] = summaries.share(summaries.any_of(others, Verdict.IMPROVED))
    row["unchanged rows equivalent"] = summaries.share(others["verdict"] == Verdict.EQUIVALENT)
    row["95 % intervals hold 1"] = summaries.share((others["low"] <= 1) & (others["high"] >= 1))
    return row


WORLDS = {
    "quiet: runs differ by 0.5 %": World(run=0.005),
    "runs differ by 0.75 %": World(),
    "runs differ by 1 %": World(run=0.01),
    "rough: 1 %, little of it in common": World(run=0.01, common=0.3),
    "0.75 %, with 6 earlier runs": World(past=6),
    "one function and the reference, 0.75 %": World(implementations=2, raced=0),
    "6 generations, 40 rounds, 0.5 %, most of it in common": World(5, 40, 6, run=0.005, common=0.8, case=0.1),
}
"""What is simulated."""


@click.group()
def main() -> None:
    """Judge the diff of two stored runs."""


@main.command()
@click.option("--diffs", default=200, show_default=True, help="With a lone change; without any twice as many.")
@click.option("--rounds", type=int, help="Rounds of a row, instead of the world's.")
@click.option("--seed", default=0, show_default=True)
@click.option("-k", "pattern", default="", help="Only worlds whose name has this.")
def simulate(diffs: int, rounds: int | None, seed: int, pattern: str) -> None:
    """Print the tables of docs/diff.md that are labelled as simulated."""
    for name, world in WORLDS.items():
        if pattern not in name:
            continue
        world = replace(world, rounds=rounds or world.rounds)
        rows = []
        for change, what, level, state, count in (
            ("none", "none", 0.0, 0.0, 2 * diffs),
            ("none, head's machine 5 % slower", "none", 0.0, 0.05, diffs),
            *((f"+{x:.0%}, one row", "one row", x, 0.0, diffs) for x in (0.03, 0.05, 0.08)),
            *((f"+{x:.0%}, all but the reference", "all but the reference", x, 0.0, diffs // 4) for x in (0.03, 0.05)),
            ("-8%, the reference", "the reference", -0.08, 0.0, diffs // 4),
        ):
            found = simulated(world, what, level, count, seed, state)
            rows.append({"change": change, "diffs": count} | summary(found))
        click.echo(f"### {name}\n\n{summaries.markdown(rows)}\n")


def composed(side: Side, levels: Mapping[str, int]) -> Side:
    """Return a recorded run as if it had one function beside the reference: in each case that of its level."""

    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        wanted = PREFIX + frame["case"].map(levels).astype(str)
        is_pool = frame["implementation"] == wanted
        kept = frame[is_pool | (frame["implementation"] == REFERENCE)]
        return kept.assign(implementation=kept["implementation"].where(~is_pool[kept.index], "pool"))

    return Side(side.run, chosen(side.results), chosen(side.samples))


def replayed(bases: Sequence[Side], heads: Sequence[Side]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what was compared, and the verdicts: pairs of runs of the same commit, then of base and head.

    The other runs of base are the earlier ones.
    """
    cases = sorted(set(bases[0].results["case"]))
    of_name = bases[0].results["implementation"]
    levels = sorted(int(name.removeprefix(PREFIX)) for name in set(of_name) if name.startswith(PREFIX))

    def diffs(pairs: Sequence[tuple[Side, Side]], changes: Sequence[dict[str, int]], same: bool) -> pd.DataFrame:
        frames = []
        for number, ((base, head), levels) in enumerate(product(pairs, changes)):
            past = [composed(one, levels) for one in bases if one not in (base, head)]
            truth = {(case, "pool"): not same and levels[case] > 0 for case in cases}
            truth |= {(case, REFERENCE): False for case in cases}
            frames.append(_verdicts(number, composed(base, levels), composed(head, levels), past, truth))
        return pd.concat(frames, ignore_index=True)

    everywhere = [dict.fromkeys(cases, level) for level in levels]
    identical = [pair for runs in (bases, heads) for pair in combinations(runs, 2)]
    if identical:
        yield "identical code (two runs of a commit)", diffs(identical, everywhere, same=True)
    both = list(product(bases, heads))
    for level in levels[1:]:
        alone = [{one: level if one == case else 0 for one in cases} for case in cases]
        yield f"+{level} % in one case", diffs(both, alone, same=False)
        yield f"+{level} % in all cases", diffs(both, [dict.fromkeys(cases, level)], same=False)


@main.command()
@click.argument("store")
@click.option("--base", required=True, metavar="COMMIT")
@click.option("--head", required=True, metavar="COMMIT")
def replay(store: str, base: str, head: str) -> None:
    """Print the same of recorded runs: all complete runs of two commits in STORE."""
    stored = Store(store)
    runs = stored.runs()
    runs = runs[runs["complete"].astype(bool)]

    def sides(commit: str) -> list[Side]:
        found = runs.loc[runs["commit"].fillna("").str.startswith(commit), "run"]
        return [Side(stored.describe(run), stored.results([run]), stored.samples([run])) for run in found]

    bases, heads = sides(base), sides(head)
    if not bases or not heads:
        raise click.UsageError(f"{store} has {len(bases)} runs of {base}, {len(heads)} of {head}; record some of both")
    rows = [{"change": what} | summary(found) for what, found in replayed(bases, heads)]
    click.echo(summaries.markdown(rows))


if __name__ == "__main__":
    main()
