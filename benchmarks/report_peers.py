"""What others make of as many results as `report.py` has: pytest-html's page, and asv's site.

Both get results that cost them nothing: tests that pass, and copies of one that asv measured. What they do not show is
not held against them: neither has intervals, ties or another answer than a list (pytest-html) or a graph (asv).
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page

Found = dict[str, float]


def pytest_html(names: list[str], cases: list[str], folder: Path, page: Page) -> Found:
    """Return how long a pytest run takes with its page and without, how large that is, and how soon it opens."""
    (folder / "test_all.py").write_text(
        f"import pytest\n@pytest.mark.parametrize('case', {cases!r})\n@pytest.mark.parametrize('name', {names!r})\n"
        "def test_it(case, name): pass\n"
    )
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_all.py"]
    without = _seconds(pytest, folder)
    built = _seconds([*pytest, "--html=report.html", "--self-contained-html"], folder)
    report = folder / "report.html"
    started = time.perf_counter()
    page.goto(report.as_uri(), wait_until="commit", timeout=300_000)
    page.wait_for_selector("#results-table tbody tr", timeout=300_000)
    shown = time.perf_counter() - started
    size = report.stat().st_size / 1e6
    return {"pytest without it, s": without, "built in, s": built, "size, MB": size, "first screen, s": shown}


def asv_publish(names: list[str], cases: list[str], folder: Path, _page: Page) -> Found:
    """Return how long ``asv publish`` takes and how large its site is.

    Its pages are not opened: they fetch their scripts from other servers, which a machine without a network cannot.
    """
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").write_text(
        "".join(f"def time_{name}(case): pass\ntime_{name}.params = ['one']\n" for name in names)
    )
    config = {"version": 1, "project": "many", "repo": ".", "branches": ["HEAD"], "environment_type": "existing"}
    (folder / "asv.conf.json").write_text(json.dumps(config))
    git = ["git", "-c", "user.name=peers", "-c", "user.email=peers@example.org"]
    for arguments in (["init"], ["add", "asv.conf.json"], ["commit", "-m", "many"]):
        _seconds([*git, *arguments], folder)
    asv = [sys.executable, "-m", "asv"]
    _seconds([*asv, "machine", "--yes"], folder)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    _seconds([*asv, "run", "--quick", "-E", f"existing:{sys.executable}", "--set-commit-hash", head.strip()], folder)
    _repeat(folder / "results", [repr(case) for case in cases])
    built = _seconds([*asv, "publish", "--no-pull"], folder)
    size = sum(path.stat().st_size for path in (folder / "html").rglob("*") if path.is_file())
    return {"built in, s": built, "size, MB": size / 1e6}


def _repeat(results: Path, params: list[str]) -> None:
    """Give the benchmarks these parameters, each with the result of the one that was measured."""
    described = json.loads((results / "benchmarks.json").read_text())
    (path,) = [one for one in results.glob("*/*.json") if one.name != "machine.json"]
    measured = json.loads(path.read_text())
    for name, row in measured["results"].items():
        described[name]["params"] = row[1] = [params]
        row[0] = row[0] * len(params)
        for place, value in enumerate(row[3:], start=3):
            if isinstance(value, list) and len(value) == 1:  # statistics, one for each parameter
                row[place] = value * len(params)
    (results / "benchmarks.json").write_text(json.dumps(described))
    path.write_text(json.dumps(measured))


def _seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started
