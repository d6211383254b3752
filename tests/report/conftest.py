"""Synthetic runs, as frames and as a stored site; and the browser that opens their pages."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browsing
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gapbench.analysis import summary
from gapbench.report.loaded_run import Stored
from gapbench.store.records import RESULTS, SAMPLES, case_columns, former_traits
from gapbench.store.run import Run, decode
from gapbench.workloads.cases import Case

Frames = tuple[Run, pd.DataFrame, pd.DataFrame]

CASES = (
    Case((1, 64, 32, 32), label="tutorial example"),
    Case((8, 2048, 7, 7), label="ResNet-50 head"),
    Case((8, 2048, 7, 7), layout="channels_last", label="ResNet-50 head"),
    Case((8, 256, 56, 56), label="SE-ResNet-50 squeeze"),
    Case((8, 256, 56, 56), dtype="bfloat16", label="SE-ResNet-50 squeeze"),
)

SPEEDS = {
    "mean": 1.0,
    "adaptive_avg_pool2d": 1.02,
    "avg_pool2d": 0.42,
    "sum_scale": 0.425,
    "einsum": 1.31,
    "matmul_ones": 0.77,
    "flatten_mean": 0.99,
    "compiled_mean": 0.61,
    "compiled_sum": None,
    "triton_rows": None,
    "numpy": 6.4,
}
"""Time against ``mean``; None is what cannot run."""

TROUBLE = {
    "compiled_sum": ("wrong", "off by 31 ULP from the float64 reference, 4 are allowed; compile with fullgraph=True"),
    "triton_rows": ("unsupported", "Triton has no CPU backend here; measure it with --device cuda"),
}


def result(case: Case, name: str, scale: float | None, index: int, **changes: Any) -> dict[str, Any]:
    """Return one row of the results; times are in proportion to the bytes moved, and differ by case."""
    row: dict[str, Any] = dict.fromkeys(RESULTS) | case_columns(case) | former_traits(case.operation, "host")
    row |= {"run": "r", "suite": "quick", "implementation": name, "contender": "this", "clock": "host"}
    if scale is None:
        status, reason = TROUBLE[name]
        return row | {"status": status, "reason": reason} | changes
    # Cases 1 and 2 have ties; elsewhere the order changes from case to case.
    wobble = 1 + 0.3 * ((index * 7 + len(name) * 5) % 11) / 11 * (scale != 1 and index not in (1, 2))
    seconds = 4e-6 + case.bytes_moved * scale * wobble / 9e9
    base = 4e-6 + case.bytes_moved / 9e9
    width = 0.004 + 0.02 * (len(name) % 4) / 4
    measured = {
        "status": "ok",
        "seconds": seconds,
        "seconds_low": seconds * (1 - width),
        "seconds_high": seconds * (1 + width),
        "ratio": seconds / base,
        "ratio_low": seconds / base * (1 - width / 2 * (scale != 1)),
        "ratio_high": seconds / base * (1 + width / 2 * (scale != 1)),
        "rounds": 24 + index,
        "samples": 480 + 20 * index,
        "stopped_by": "target" if index % 3 else "budget",
        "gbps": case.bytes_moved / seconds / 1e9,
        "max_error": 1e-8,
    }
    return row | measured | changes


def build(cases: tuple[Case, ...] = CASES, speeds: dict[str, float | None] = SPEEDS, **run: Any) -> Frames:
    """Return run.json, results and winners of a run of ``cases`` by ``speeds``."""
    results = pd.DataFrame(
        [result(case, name, scale, index) for index, case in enumerate(cases) for name, scale in speeds.items()],
        columns=list(RESULTS),
    )
    for _, rows in results[results["status"] == "ok"].groupby("case"):
        best = rows.sort_values("seconds").iloc[0]
        results.loc[rows.index, "best"] = best["implementation"]
        results.loc[rows.index, "best_ratio"] = rows["seconds"] / best["seconds"]
        for end in ("low", "high"):
            wide = 1 + (rows[f"ratio_{end}"] / rows["ratio"] - 1) * (rows["implementation"] != best["implementation"])
            results.loc[rows.index, f"best_ratio_{end}"] = rows["seconds"] / best["seconds"] * wide
    return described(**run), results, winners_of(results)


def winners_of(results: pd.DataFrame) -> pd.DataFrame:
    """Return the winners of the cases that have any."""
    return summary.winners(results, pd.DataFrame(columns=list(SAMPLES)))


def described(**changes: Any) -> Run:
    """Return what is known of a run."""
    document = {
        "schema": 1,
        "run": "20261122T101112Z-abc1234-9f3c",
        "started": "2026-11-22T10:11:12Z",
        "ended": "2026-11-22T10:12:14Z",
        "argv": ["gapbench", "run", "quick", "-k", "not triton or x"],
        "suites": ["quick"],
        "seed": 0,
        "git": {
            "commit": "abc1234def5678abc1234def5678abc1234def56",
            "branch": "main",
            "dirty": True,
            "diff_hash": "5f2c9e",
            "subject": "Pool channels_last in one pass",
        },
        "machine": {"cpu": "AMD EPYC 7763 64-Core Processor", "cores": 2, "memory_bytes": 8 * 2**30, "gpus": []},
        "versions": {"python": "3.11.9", "torch": "2.13.0+cpu", "triton": None, "gapbench": "0.1.0"},
        "settings": {"budget": 60.0, "target": 0.01},
        "load_before": [0.52, 0.4, 0.31],
        "load_after": [1.2, 0.7, 0.4],
        "timed_seconds": 49.6,
        "wall_seconds": 61.7,
        "warnings": [],
    }
    return decode(document | changes)


@pytest.fixture
def frames() -> Callable[..., Frames]:
    """`build`, for tests."""
    return build


@pytest.fixture
def stored() -> Callable[..., Stored]:
    """Return a function that makes of `build`'s arguments, or of frames, a run as the store gives it."""

    def make(frames: Frames | None = None, **changes: Any) -> Stored:
        run, results, winners = frames or build(**changes)
        return Stored(run, results, pd.DataFrame(columns=list(SAMPLES)), winners)

    return make


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page from its file, offline; anything untoward fails the test.

    Untoward are errors, whatever is said on the console, and requests for anything but files of the page's folder.
    """
    contexts, untoward = [], []

    def visit(path: Path, address: str = "", ready: bool = True, **options: Any) -> Page:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        folder = path.parent.as_uri() + "/"

        def asked(request: Any) -> None:
            if not request.url.startswith((folder, "blob:null/", "data:")):
                untoward.append(request.url)

        page = context.new_page()
        page.on("console", lambda message: untoward.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: untoward.append(f"error: {error}"))
        page.on("request", asked)
        page.goto(path.as_uri() + address)
        if ready:
            page.wait_for_selector("html[data-ready]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert untoward == []


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of `browsing.write_pages`; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("pages")
    browsing.write_pages(folder)
    return folder


@pytest.fixture
def run_page(pages: Path, visit: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page of the newer run."""
    return lambda address="", **options: visit(pages / "site" / f"{browsing.HEAD}.html", address, **options)
