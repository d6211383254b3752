"""What a large store costs: time and peak memory of commands, each in a process of its own, beside other ways.

``python benchmarks/store.py`` makes 1,000 runs of 10,000 samples (once, in ``--folder``; 15 minutes at most), then
prints a table; ``--runs 10000 --turns 1`` makes many small ones. Every command is run twice, and the second is
reported: what is measured is the store, not the disk.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import pandas as pd

from gapbench.analysis import summary
from gapbench.report import site
from gapbench.store import pytest_benchmark as writing
from gapbench.store import records
from gapbench.store.records import Qualification
from gapbench.store.run import Run, decode
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

CASES = [Case((8, channels, 7, 7), label="head") for channels in (256, 512, 1024, 2048, 4096)]
NAMES = ("mean", "adaptive", "sum_scale", "einsum", "matmul", "avg_pool", "flatten", "two_stage", "compiled", "mine")
ROUNDS = 10
MACHINE = {"cpu": "Some CPU", "usable_cores": 2, "device": "cpu", "device_description": "Some CPU", "gpus": []}

LAUNCH = """
import os, sys, time
started = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - started, usage.ru_utime + usage.ru_stime,
      usage.ru_maxrss, file=sys.stderr)
"""
"""A process's peak memory begins with that of the one which it was forked from: here one that has nothing loaded."""

INDEX = """
import sys; from pathlib import Path; from gapbench.report import html, site
Path(sys.argv[1], "index.html").write_text(html.index_page(*site.cards(Path(sys.argv[1]))))
"""
WHOLE = """
import sys; from pathlib import Path; import pandas as pd
files = sorted(Path(sys.argv[1]).glob("*/samples.parquet"))
samples = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
print(samples[samples["case"] == sys.argv[2]].groupby(["run", "implementation"])["seconds_per_call"].median())
"""
JSON_HISTORY = """
import sys; from pytest_benchmark.logger import Logger; from pytest_benchmark.storage.file import FileStorage
storage = FileStorage(sys.argv[1], Logger(level=Logger.NORMAL))
for path, run in storage.load():
    for one in run["benchmarks"]:
        if one["extra_info"]["case"] == sys.argv[2]:
            print(path, one["name"], one["stats"]["median"])
"""


def a_run(number: int, turns: int) -> tuple[Run, pd.DataFrame]:
    """Return a run that never happened, and its samples."""
    day, second = divmod(number, 60)
    run = f"202601{1 + day % 28:02}T0000{second:02}Z-{number:07x}-{number % 65536:04x}"
    git = {"commit": f"{number:040x}", "branch": "main", "subject": f"change {number}", "dirty": False}
    document = {
        "run": run, "started": f"2026-01-{1 + day % 28:02}T00:00:{second:02}Z", "suites": ["quick"], "git": git,
        "machine": MACHINE, "versions": {"torch": "2.13.0"}, "argv": ["run", "quick"], "tag": f"build-{number}",
    }  # fmt: skip
    shape = (len(CASES), ROUNDS, turns, len(NAMES))
    case, round_, turn, place = (axis.ravel() for axis in np.indices(shape))
    rng = np.random.default_rng(number)
    seconds = 1e-5 * (1 + case) * (1 + place / 10) * np.exp(rng.normal(0, 0.02, case.size))
    samples = pd.DataFrame(
        {
            "run": run, "case": np.array([one.id for one in CASES], dtype=object)[case],
            "implementation": np.array(NAMES, dtype=object)[place], "contender": "this", "clock": "host",
            "round": round_, "process": case * ROUNDS + round_, "turn": turn, "position": place, "calls": 50,
            "seconds_per_call": seconds, "steal": 0.0,
        }
    )  # fmt: skip
    return decode(document), samples


def fill(store: Store, folder: Path, runs: int, turns: int) -> None:
    """Store ``runs`` runs, and the same as pytest-benchmark's files. Results are the first run's, scaled."""
    results = base = None
    for number in range(runs):
        document, samples = a_run(number, turns)
        if results is None:
            outcomes = [
                summary.Outcome("quick", case, name, "host", Qualification(), "target", "mean")
                for case in CASES
                for name in NAMES
            ]
            results = summary.results(samples, outcomes)
            padded = results.reindex(columns=list(records.RESULTS))
            padded_samples = samples.reindex(columns=list(records.SAMPLES))
            base = writing.document(document, padded, padded_samples)
        writer = store.create(document)
        writer.append(samples)
        scale = float(np.exp(np.random.default_rng(number).normal(0, 0.003)))
        times = ["seconds", "seconds_low", "seconds_high"]
        writer.finish(results.assign(**{name: results[name] * scale for name in times}))
        groups = samples.groupby(["case", "implementation"])["seconds_per_call"]
        for one in base["benchmarks"]:
            data = groups.get_group((one["extra_info"]["case"], one["extra_info"]["implementation"])).tolist()
            one["stats"] |= {"data": data, "median": statistics.median(data)}
        (folder / f"{number + 1:04}_run.json").write_text(json.dumps({**base, "datetime": document.started}))


def copies(root: Path, store: Store, count: int) -> None:
    """Make a folder of ``count`` pages, all of one run."""
    folder = root / "pages"
    if folder.exists():
        return
    (page,) = site.write(store, [store.resolve("latest")], folder)
    for number in range(1, count):
        shutil.copy(page, folder / f"copy-{number}.html")


def measure(command: list[str], cwd: Path) -> tuple[float, float, float]:
    """Return seconds, seconds of CPU time, and peak memory in MB of a process."""
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCH, *command], cwd=cwd, capture_output=True, text=True)
    status, seconds, cpu, memory = done.stderr.splitlines()[-1].split()
    if status not in ("0", "1"):  # a diff that is red is no failure
        raise click.ClickException(f"failed: {command}: {done.stderr}")
    return float(seconds), float(cpu), float(memory) / 1024


@click.command()
@click.option("--runs", default=1000, show_default=True)
@click.option("--turns", default=20, show_default=True, help="Of a round: samples of each implementation.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir(), "gapbench-large-store"))
def main(runs: int, turns: int, folder: Path) -> None:
    root = folder / f"{runs}x{turns}"
    store, other = Store(str(root / "results")), root / ".benchmarks" / "machine"
    if not (root / "complete").exists():
        other.mkdir(parents=True)
        fill(store, other, runs, turns)
        (root / "complete").touch()
    case, python = CASES[2].id, sys.executable
    copies(root, store, runs)
    gapbench = [python, "-m", "gapbench"]
    (root / "results" / "index.parquet").unlink(missing_ok=True)
    rows = [("list runs, without its index", [*gapbench, "list", "runs", "--json"])]
    rows += [
        ("list runs", [*gapbench, "list", "runs", "--json"]),
        ("diff of two", [*gapbench, "diff", "build-7", f"build-{runs - 1}"]),
        ("history of one case", [*gapbench, "history", case, "--json"]),
        ("report of the newest: its page, diff, history, index", [*gapbench, "report"]),
        (f"the index page of {runs:,} pages", [python, "-c", INDEX, "pages"]),
        ("pandas: read all samples, one case", [python, "-c", WHOLE, "results", case]),
        ("pytest-benchmark list", [str(Path(python).with_name("pytest-benchmark")), "list"]),
        ("pytest-benchmark compare of two",
         [str(Path(python).with_name("pytest-benchmark")), "compare", "0007", f"{runs:04}"]),
        ("pytest-benchmark's storage: load all, one case", [python, "-c", JSON_HISTORY, ".benchmarks", case]),
    ]  # fmt: skip
    sizes = {
        name: sum(path.stat().st_size for path in where.rglob("*.*") if path.is_file()) / 1e6
        for name, where in {"gapbench": root / "results", "pytest-benchmark": root / ".benchmarks"}.items()
    }
    click.echo(
        f"{runs:,} runs, {runs * len(a_run(0, turns)[1]):,} samples; on disk: gapbench {sizes['gapbench']:.0f} MB,"
    )
    click.echo(
        f"pytest-benchmark {sizes['pytest-benchmark']:.0f} MB\n\n| | seconds | of CPU time | MB |\n|---|---|---|---|"
    )
    for index, (name, command) in enumerate(rows):
        if index:
            measure(command, root)
        seconds, cpu, memory = measure(command, root)
        click.echo(f"| {name} | {seconds:.1f} | {cpu:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
