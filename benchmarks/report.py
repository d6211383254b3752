"""How long a report takes for very many results, how large it is, and how soon and with how much memory it opens.

``python report.py [CASES] [--peers]`` fabricates a run of 10,000 cases x 10 implementations by default, through the
writer and the summary that real runs take (which takes minutes, and is not what is timed), writes its single-file page
in a fresh process, and opens it in Chromium. With ``--peers`` (they need asv and pytest-html) others are given as many
results in the same session. Times depend on the machine: quote them with it.
"""

import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright
from report_peers import asv_publish, pytest_html

from gapbench.analysis import summary
from gapbench.store.records import Qualification
from gapbench.store.run import Run
from gapbench.store.store import Store, timestamp
from gapbench.workloads.cases import Case

ROUNDS, TURNS = 6, 2
NAMES = ("mean", *(f"implementation_{number}" for number in range(1, 10)))
WRITE = """
import sys, time
started = time.perf_counter()
from pathlib import Path
from gapbench.report import site
from gapbench.store.store import Store
(page,) = site.write(Store(sys.argv[1]), [sys.argv[2]], Path(sys.argv[3]), single_file=True)
print(time.perf_counter() - started, page)
"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-precise-memory-info"]
USABLE = "() => document.documentElement.dataset.usable && performance.now()"


def cases(count: int) -> list[Case]:
    """Return different cases: shapes, each in two dtypes and two layouts."""
    shapes = itertools.product(range(1, 26), (64, 128, 256, 512, 1024), range(7, 27))
    kinds = (
        ("float32", "contiguous"),
        ("float32", "channels_last"),
        ("bfloat16", "contiguous"),
        ("bfloat16", "channels_last"),
    )
    every = (Case((n, c, h, h), *kind, label=f"shape {n}, {c}") for n, c, h in shapes for kind in kinds)
    return list(itertools.islice(every, count))


def fabricate(store: Store, measured: list[Case]) -> str:
    """Store a run in which implementations differ by up to a half, with 1 % of noise, and return its id."""
    rng = np.random.default_rng(0)
    writer = store.create(Run(id="20260101T000000Z-nogit-0001", started=timestamp(), suites=("many",)))
    shape = (len(measured), ROUNDS, TURNS, len(NAMES))
    base = np.array([1e-6 + case.bytes_moved / 1e10 for case in measured])
    speeds = base[:, None, None, None] * rng.uniform(1, 1.5, (len(measured), 1, 1, len(NAMES)))
    index = [axis.ravel() for axis in np.indices(shape)]
    writer.append(
        {
            "case": np.array([case.id for case in measured], dtype=object)[index[0]],
            "implementation": np.array(NAMES, dtype=object)[index[3]],
            "contender": "this",
            "clock": "host",
            "round": index[1],
            "process": index[0] * ROUNDS + index[1],
            "turn": index[2],
            "position": index[3],
            "calls": 10,
            "seconds_per_call": (speeds * np.exp(rng.normal(0, 0.01, shape))).ravel(),
            "steal": 0.0,
        }
    )
    qualification = Qualification(max_error=1e-7, max_error_ulp=0.5, peak_extra_bytes=512)
    outcomes = [
        summary.Outcome("many", case, name, "host", qualification, "budget") for case in measured for name in NAMES
    ]
    writer.finish(summary.results(writer.samples(), outcomes))
    return writer.id


def opened(page_file: Path, page: Page) -> dict[str, float]:
    """Open a page, and return the seconds to its first screen and to each of its views, and the MB of its heap."""
    page.goto(page_file.as_uri(), wait_until="commit")
    found = {"first screen, s": page.wait_for_function(USABLE).json_value() / 1000}
    page.wait_for_selector("html[data-ready]")
    for view in page.locator("main section:has(table[data-table], .chart)").all():
        name = view.get_attribute("id")
        drawn = "table:not(details table) tbody tr, .chart .main-svg"
        started = time.perf_counter()
        view.evaluate("one => one.scrollIntoView()")
        view.locator(drawn).first.wait_for(state="attached")
        found[f"view {name}, s"] = time.perf_counter() - started
    started = time.perf_counter()
    page.get_by_label("Search All results").fill("1024 implementation_7")
    page.wait_for_function("document.querySelector('#results .dt-info').textContent.includes('filtered')")
    found["search in all results, s"] = time.perf_counter() - started
    return found | {"heap, MB": page.evaluate("performance.memory.usedJSHeapSize") / 1e6}


def gapbench(_names: list[str], measured: list[Case], folder: Path, page: Page) -> dict[str, float]:
    """Return what the single-file page takes."""
    run = fabricate(Store(f"{folder}/results"), measured)
    command = [sys.executable, "-c", WRITE, f"{folder}/results", run, f"{folder}/reports"]
    seconds, path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    written = Path(path)
    return {"built in, s": float(seconds), "size, MB": written.stat().st_size / 1e6} | opened(written, page)


def main(count: int, peers: bool) -> None:
    """Print what was found."""
    measured = cases(count)
    print(f"{count} cases x {len(NAMES)} implementations")
    tools = {"gapbench report": gapbench}
    if peers:
        ids = [case.id for case in measured]
        tools |= {
            one.__name__: lambda names, _, *rest, one=one: one(names, ids, *rest) for one in (pytest_html, asv_publish)
        }
    for tool, make in tools.items():
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            found = make(list(NAMES), measured, Path(folder), browser.new_page())
            browser.close()
        print(tool, *(f"  {what}: {value:.2f}" for what, value in found.items()), sep="\n")


if __name__ == "__main__":
    arguments = [one for one in sys.argv[1:] if one != "--peers"]
    main(int(arguments[0]) if arguments else 10_000, "--peers" in sys.argv)
