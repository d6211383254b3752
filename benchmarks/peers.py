"""gapbench beside its peers, on the same work, taking turns: known durations, and the spread of a real ratio.

    make peers    (or: python benchmarks/peers.py --repeat 7)

Each tool is used as its manual says, with one thread, and reports its own headline number: gapbench its estimate over
rounds, pytest-benchmark and torch.utils.benchmark the median, pyperf the mean, timeit the minimum, asv the median.
Tools take turns, so that all see the machine's moods.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import subjects
import torch

HERE = Path(__file__).parent
Names = list[str]
SUBJECTS = subjects.SPINS | subjects.PAIR


def run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def with_gapbench(names: Names, folder: Path) -> dict[str, float]:
    shape = "x".join(map(str, SUBJECTS[names[0]][1].shape))
    chosen = [
        option
        for name in names
        for option in ("--impl", name if name == "mean" or name == "sum_scale" else f"{HERE / 'subjects.py'}:{name}")
    ]
    where = [
        "--shape",
        shape,
        "--dtype",
        "float32",
        "--layout",
        "contiguous",
        "--budget",
        "20s",
        "--store",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "gapbench", "run", *where, *chosen, "--json"], capture_output=True, check=True
    )
    run_folder = json.loads(done.stdout)["path"]
    results = pd.read_parquet(f"{run_folder}/results.parquet").set_index("implementation")
    seconds = results["seconds"].to_dict()
    if "sum_scale" in names:  # the ratio is what gapbench measures best, so that is what it is asked for
        seconds["sum_scale"] = seconds["mean"] * results["ratio"]["sum_scale"]
    return seconds


def with_pytest_benchmark(names: Names, folder: Path) -> dict[str, float]:
    (folder / "test_peers.py").write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nimport pytest, torch, subjects\ntorch.set_num_threads(1)\n"
        f"@pytest.mark.parametrize('name', {names!r})\n"
        "def test_peer(benchmark, name):\n    f, x = (subjects.SPINS | subjects.PAIR)[name]\n    benchmark(f, x)\n"
    )
    run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:gapbench", "test_peers.py", "--benchmark-json=out.json"],
        folder,
    )
    benchmarks = json.loads((folder / "out.json").read_text())["benchmarks"]
    return {one["params"]["name"]: one["stats"]["median"] for one in benchmarks}


def with_torch_timer(names: Names, folder: Path) -> dict[str, float]:
    from torch.utils.benchmark import Timer

    torch.set_num_threads(1)
    seconds = {}
    for name in names:
        function, x = SUBJECTS[name]
        seconds[name] = Timer("f(x)", globals={"f": function, "x": x}).blocked_autorange(min_run_time=1.0).median
    return seconds


def with_timeit(names: Names, folder: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    seconds = {}
    for name in names:
        function, x = SUBJECTS[name]
        timer = timeit.Timer("f(x)", globals={"f": function, "x": x})
        number, _ = timer.autorange()
        seconds[name] = min(timer.repeat(5, number)) / number
    return seconds


def with_pyperf(names: Names, folder: Path) -> dict[str, float]:
    (folder / "bench.py").write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nimport pyperf, torch, subjects\ntorch.set_num_threads(1)\n"
        f"runner = pyperf.Runner()\nfor name in {names!r}:\n"
        "    f, x = (subjects.SPINS | subjects.PAIR)[name]\n    runner.bench_func(name, f, x)\n"
    )
    (folder / "out.json").unlink(missing_ok=True)
    run([sys.executable, "bench.py", "--fast", "--quiet", "-o", "out.json"], folder)
    import pyperf

    suite = pyperf.BenchmarkSuite.load(str(folder / "out.json"))
    return {one.get_name(): one.mean() for one in suite}


def with_asv(names: Names, folder: Path) -> dict[str, float]:
    (folder / "benchmarks").mkdir(exist_ok=True)
    (folder / "benchmarks" / "__init__.py").write_text("")
    (folder / "benchmarks" / "peers.py").write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nimport torch, subjects\ntorch.set_num_threads(1)\n"
        f"class Peers:\n    params = {names!r}\n    param_names = ['name']\n"
        "    def setup(self, name): self.f, self.x = (subjects.SPINS | subjects.PAIR)[name]\n"
        "    def time_peer(self, name): self.f(self.x)\n"
    )
    config = {"version": 1, "project": "peers", "repo": ".", "branches": ["HEAD"], "environment_type": "existing"}
    (folder / "asv.conf.json").write_text(json.dumps(config))
    git = ["git", "-c", "user.name=peers", "-c", "user.email=peers@example.org"]
    if not (folder / ".git").exists():
        run([*git, "init"], folder)
        run([*git, "add", "asv.conf.json"], folder)
        run([*git, "commit", "-m", "peers"], folder)
    run([sys.executable, "-m", "asv", "machine", "--yes"], folder)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout
    environment = f"existing:{sys.executable}"
    run([sys.executable, "-m", "asv", "run", "-E", environment, "--set-commit-hash", commit.strip()], folder)
    (path,) = [one for one in (folder / "results").glob("*/*.json") if one.name != "machine.json"]
    (result,) = json.loads(path.read_text())["results"].values()
    path.unlink()
    return dict(zip(names, result[0], strict=True))


TOOLS: dict[str, Callable[[Names, Path], dict[str, float]]] = {
    "gapbench": with_gapbench,
    "pytest-benchmark": with_pytest_benchmark,
    "torch Timer": with_torch_timer,
    "pyperf --fast": with_pyperf,
    "asv": with_asv,
    "timeit": with_timeit,
}


def measure(tool: str, names: Names) -> tuple[dict[str, float], float]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seconds = TOOLS[tool](names, Path(folder))
    return seconds, time.monotonic() - started


def known_durations(tools: list[str]) -> None:
    """Print what each tool adds to durations that are known, in microseconds and percent."""
    rows = {}
    for tool in tools:
        seconds, wall = measure(tool, list(subjects.SPINS))
        errors = {us: seconds[f"spin_{us}"] * 1e6 - us for us in subjects.MICROSECONDS}
        rows[tool] = {f"{us} µs": f"{error:+.2f} ({error / us:+.1%})" for us, error in errors.items()} | {
            "wall s": f"{wall:.0f}"
        }
        within = all(abs(error) <= 0.01 * us + 0.3 for us, error in errors.items())
        rows[tool]["within 1 % + 0.3 µs"] = "yes" if within else "no"
        print(pd.DataFrame.from_dict(rows, orient="index").T.to_string(), flush=True)


def ratio_spread(tools: list[str], repeat: int) -> None:
    """Print how far the reported ratio of two real implementations moves from run to run."""
    ratios: dict[str, list[float]] = {tool: [] for tool in tools}
    walls: dict[str, list[float]] = {tool: [] for tool in tools}
    for _ in range(repeat):
        for tool in tools:
            seconds, wall = measure(tool, list(subjects.PAIR))
            ratios[tool].append(seconds["sum_scale"] / seconds["mean"])
            walls[tool].append(wall)
    rows = {
        tool: {
            "median ratio": pd.Series(found).median(),
            "spread of log ratio %": 100 * pd.Series(found).map(math.log).std(),
            "largest / smallest": max(found) / min(found),
            "wall s a run": pd.Series(walls[tool]).median(),
        }
        for tool, found in ratios.items()
    }
    print(pd.DataFrame.from_dict(rows, orient="index").round(3).to_string(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    options = parser.parse_args()
    known_durations(options.tools)
    ratio_spread(options.tools, options.repeat)


if __name__ == "__main__":
    main()
