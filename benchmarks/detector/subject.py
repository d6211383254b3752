"""A repository with two commits of ``pool.py`` whose head does 0, 1, 2, 3, 5 and 10 % more real work than its base.

    python benchmarks/detector/subject.py calibrate -o calibration.json     (on a quiet machine, once)
    python benchmarks/detector/subject.py make FOLDER calibration.json

The file has one implementation a level, `pool_0` to `pool_10`: a mean, then a loop of Python of a length that is
looked up by shape, strides, dtype and pass. Base loops zero times, head as often as takes the level's share of what
the whole call takes in base. So both commits run the same code; only the table differs. The lengths are measured once
and written into both commits: 1 % is what was 1 % then, and `truth` measures what it is now.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from itertools import repeat
from pathlib import Path

import click
import fresh
import numpy as np

from gapbench.workloads.suites import find

LEVELS = (0, 1, 2, 3, 5, 10)
FILE = "pool.py"

CASES = {case.id: case for case in find("ci")[0].cases}

SOURCE = '''"""Average pooling, and then as many turns of an empty loop as the table says."""

from itertools import repeat

import torch

TURNS = {table}

# Freed at once, and from then on results below 32 MB reuse memory that is mapped already, in every process alike:
# glibc raises its threshold for mapping anew. Without this the page faults of the backward pass, which are there in
# some processes and not in others, drown what is added.
torch.empty(31 << 20, dtype=torch.uint8)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, level):
        ctx.facts, ctx.level = (x.shape, x.stride(), x.dtype, "backward"), level
        return x.mean(tuple(range(2, x.dim())), keepdim=True)

    @staticmethod
    def backward(ctx, gradient):
        shape = ctx.facts[0]
        spread = (gradient * (1 / shape[2:].numel())).expand(shape).contiguous()
        for _ in repeat(None, TURNS[ctx.facts][ctx.level]):
            pass
        return spread, None


def _pool(level):
    def pool(x):
        if x.requires_grad:
            return _Pool.apply(x, level)
        y = x.mean(tuple(range(2, x.dim())), keepdim=True)
        for _ in repeat(None, TURNS[x.shape, x.stride(), x.dtype, "forward"][level]):
            pass
        return y

    return pool


{functions} = map(_pool, range({count}))
'''


def source(turns: Mapping[str, tuple[int, ...]]) -> str:
    """Return ``pool.py`` with so many turns of the loop by case (its id) and level, in the order of `LEVELS`."""
    from gapbench.workloads import inputs

    lines = []
    for case_id, counts in turns.items():
        case = CASES[case_id]
        facts = f"({case.shape}, {inputs.empty(case).stride()}, torch.{case.dtype}, {case.pass_!r})"
        lines.append(f"    {facts}: {counts},\n")
    functions = ", ".join(f"pool_{level}" for level in LEVELS)
    return SOURCE.format(table=f"{{\n{''.join(lines)}}}", functions=functions, count=len(LEVELS))


def make(folder: Path, calibration: Mapping[str, tuple[float, float]]) -> tuple[str, str]:
    """Make the repository in ``folder`` and return the hashes of base and head.

    ``calibration`` says by case id how many seconds a call of base and a turn of the loop take.
    """
    idle = {case_id: (0,) * len(LEVELS) for case_id in calibration}
    busy = {
        case_id: tuple(round(level / 100 * call / turn) for level in LEVELS)
        for case_id, (call, turn) in calibration.items()
    }
    git(folder, "init", "--quiet")
    commits = []
    for subject, turns in (("Pool", idle), ("Pool, and do more", busy)):
        (folder / FILE).write_text(source(turns), encoding="utf-8")
        git(folder, "add", FILE)
        git(folder, "commit", "--quiet", "-m", subject)
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits[0], commits[1]


def git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder`` and return what it prints."""
    who = ["-c", "user.name=detector", "-c", "user.email=detector@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def timed(case_id: str, seed: int) -> tuple[float, float]:
    """Return the seconds that a call of base takes in this process, and a turn of the loop."""
    text = source({case_id: (0,) * len(LEVELS)})
    ((call,),) = fresh.bound([text], ["pool_0"], CASES[case_id], seed)
    return _median_seconds(call), _median_seconds(_loop) / _TURNS


_TURNS = 10_000


def _loop() -> None:
    for _ in repeat(None, _TURNS):
        pass


def _median_seconds(call: Callable[[], object], batches: int = 60, batch_seconds: float = 0.25e-3) -> float:
    count = fresh.calls_within(call, batch_seconds)
    return float(np.median([fresh.batch(call, count) for _ in range(batches)]))


@click.group()
def main() -> None:
    """Make the repository whose two commits are compared."""


@main.command()
@click.option("--processes", default=15, show_default=True, help="Fresh processes a case, of which the median counts.")
@click.option("-o", "output", required=True, type=click.Path(path_type=Path))
def calibrate(processes: int, output: Path) -> None:
    """Measure how long base and a turn of the loop take here."""
    jobs = [(case_id, seed) for seed in range(processes) for case_id in CASES]
    found: dict[str, list[tuple[float, float]]] = {case_id: [] for case_id in CASES}
    for (case_id, _), pair in zip(jobs, fresh.each(timed, jobs), strict=True):
        found[case_id].append(pair)
    medians = {case_id: np.median(pairs, axis=0).tolist() for case_id, pairs in found.items()}
    output.write_text(json.dumps(medians, indent=1) + "\n", encoding="utf-8")
    for case_id, (call, turn) in medians.items():
        click.echo(f"{case_id:55} {call * 1e6:9.2f} µs a call {turn * 1e9:6.2f} ns a turn of the loop")


@main.command("make")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("calibration", type=click.Path(exists=True, path_type=Path))
def make_command(folder: Path, calibration: Path) -> None:
    """Make the repository in FOLDER, which must be empty or new, and print base and head."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty; name a new folder")
    click.echo(" ".join(make(folder, json.loads(calibration.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
