"""Which files a report is: a folder of pages that share their scripts, or pages that stand alone.

``reports/`` has ``index.html``, ``history.html``, ``<run id>.html`` for each run, ``<base>..<head>.html`` for each
diff, ``<run id>.<case>.html`` for each case that was profiled, and what `gapbench.report.assets` says that they share.
The index lists all pages of the folder, also those of earlier reports: each carries a card that says what it is.
"""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

from gapbench.compare import interleaved
from gapbench.errors import GapbenchError
from gapbench.report import assets, html, profiles
from gapbench.report.diff import page as diffs
from gapbench.report.diff.lines import explained
from gapbench.report.history import page as past
from gapbench.report.private import public
from gapbench.report.stored import against, load
from gapbench.store import Store
from gapbench.store import profiles as stored_profiles

_HEAD = 65536  # a page's card stands in its first bytes
_CARD = re.compile(r'<meta name="gapbench" content="([^"]*)"')  # where jinja2 escapes quotes


def write(
    store: Store,
    runs: Sequence[str],
    folder: Path,
    *,
    baseline: str | None = None,
    redact: bool = False,
    single_file: bool = False,
) -> list[Path]:
    """Write the pages of ``runs`` and of what changed since ``baseline``, and return the runs' paths.

    Raises `GapbenchError` for a run without results, for a baseline that cannot be compared with, and where the folder
    cannot be written.
    """
    pages = []
    for run in runs:
        stored = load(store, run)
        if stored.results.empty:
            raise GapbenchError(f"run {run} has no results yet; complete it with: gapbench run --resume {run}")
        if stored.run.is_comparison:
            of_sides = explained(store, interleaved(stored))
            profiled = _profiled(store, run)
            text = html.diff_page(of_sides, pages=(), redact=redact, single_file=single_file, profiled=profiled)
            pages.append(_write(folder, run, text))
            _write_profiles(profiled, run, folder, single_file)
            continue
        # a baseline among the runs that are shown is a page like the others, without a diff against itself
        named = None if run == baseline and len(runs) > 1 else baseline
        profiled = _profiled(store, run)
        diff, why_not = against(store, stored, named)
        text = html.run_page(public(stored, redact), diff, why_not, single_file=single_file, profiled=profiled)
        pages.append(_write(folder, run, text))
        _write_profiles(profiled, run, folder, single_file)
        if diff is not None:
            known = {path.stem for path in folder.glob("*.html")} | set(runs)
            text = html.diff_page(diff, pages=known, redact=redact, single_file=single_file)
            _write(folder, diffs.name(diff), text)
    if not single_file:
        for asset in assets.all_of_them():
            _keep(folder / asset.name, asset.text)
        _keep(folder / "history.html", html.history_page(past.read(store)))
        _keep(folder / "index.html", html.index_page(*cards(folder)))
    return pages


def _profiled(store: Store, run: str) -> html.Profiled:
    return {case: profiles.public(found) for case, found in stored_profiles.read(store, run).items()}


def _write_profiles(profiled: html.Profiled, run: str, folder: Path, single_file: bool) -> None:
    for case, documents in profiled.items():
        _write(folder, profiles.name(run, case), html.profile_page(run, documents, single_file=single_file))


def _write(folder: Path, name: str, text: str) -> Path:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise GapbenchError(f"run id {name!r} cannot name a file: use letters, digits, '.', '_' and '-'")
    return _keep(folder / f"{name}.html", text)


def _keep(path: Path, text: str) -> Path:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # a browser may be reading, a run that ends be writing
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise GapbenchError(
            f"cannot write the report {path}: {error.strerror}; choose another folder with -o"
        ) from error
    return path


def cards(folder: Path) -> tuple[list[html.Card], list[html.Card]]:
    """Return what the pages of ``folder`` say of themselves, newest first: runs and diffs."""
    found = [card for path in folder.glob("*.html") if (card := card_of(path)) is not None]
    newest = sorted(found, key=lambda card: (card["started"], card["name"]), reverse=True)
    return [one for one in newest if one["kind"] == "run"], [one for one in newest if one["kind"] == "diff"]


def card_of(path: Path) -> html.Card | None:
    """Return a page's card, None for a page that has none or is of another gapbench's making."""
    with path.open(encoding="utf-8", errors="replace") as page:
        found = _CARD.search(page.read(_HEAD))
    try:
        card = json.loads(unescape(found[1] if found else ""))
    except ValueError:
        return None
    known = isinstance(card, dict) and card.get("kind") in html.FIELDS
    return {**card, "name": path.stem} if known and html.FIELDS[card["kind"]] <= card.keys() else None
