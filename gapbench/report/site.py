"""Write the files of a report: a folder of pages that share their scripts, or pages that stand alone.

``reports/`` has ``index.html``, ``history.html``, ``<run id>.html`` for each run, ``runs.html`` for the runs that were
last reported together, ``<base>..<head>.html`` for each diff, ``<run id>.<case>.html`` for each profiled case, and the
shared files of `gapbench.report.assets`. The index lists all pages of the folder, including those of earlier reports:
each page carries a card that describes it.
"""

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

from gapbench.analysis.compare import interleaved
from gapbench.errors import GapbenchError
from gapbench.report import assets, html, profiles
from gapbench.report import history as past
from gapbench.report.diff.lines import explained
from gapbench.report.loaded_run import against, load
from gapbench.report.redaction import public
from gapbench.store import durable_io
from gapbench.store import profiles as stored_profiles
from gapbench.store.store import Store

_HEAD = 65536  # a page's card is in its first bytes
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
    """Write the pages of ``runs``, of all of them beside each other, and of their diffs against ``baseline``.

    Return the paths of the runs' pages, and of that of several runs. Interleaved comparisons stay out of the latter.

    Raises `GapbenchError` for a run without results, a baseline that cannot be compared, and a folder that cannot be
    written.
    """
    pages, plain = [], []
    for run in runs:
        stored = load(store, run)
        if stored.results.empty:
            raise GapbenchError(f"run {run} has no results yet; complete it with: gapbench run --resume {run}")
        profiled = {case: profiles.public(documents) for case, documents in stored_profiles.read(store, run).items()}
        diff = None
        if stored.run.is_matrix:
            raise GapbenchError(
                f"run {run} is a matrix of versions, which has no page; see it with: gapbench diff {run}"
            )
        if stored.run.is_comparison:
            sides = explained(store, interleaved(stored))
            text = html.diff_page(sides, pages=(), redact=redact, single_file=single_file, profiled=profiled)
        else:
            # a baseline that is one of several shown runs has a page too, without a diff against itself
            named = None if run == baseline and len(runs) > 1 else baseline
            diff, unsupported_reason = against(store, stored, named)
            plain.append(public(stored, redact))
            text = html.run_page(plain[-1], diff, unsupported_reason, single_file=single_file, profiled=profiled)
        pages.append(_write(folder, run, text))
        for case, documents in profiled.items():
            text = html.profile_page(run, documents, single_file=single_file)
            _write(folder, profiles.name(run, case), text)
        if diff is not None:
            linked = {path.stem for path in folder.glob("*.html")} | set(runs)
            text = html.diff_page(diff, pages=linked, redact=redact, single_file=single_file)
            _write(folder, html.diff_name(diff), text)
    if len(plain) > 1:
        pages.append(_write(folder, "runs", html.runs_page(plain, single_file=single_file)))
    if not single_file:
        for asset in assets.all_of_them():
            _keep(folder / asset.name, asset.text)
        _keep(folder / "history.html", html.history_page(past.read(store)))
        _keep(folder / "index.html", html.index_page(*cards(folder), (folder / "runs.html").exists()))
    return pages


def _write(folder: Path, name: str, text: str) -> Path:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise GapbenchError(f"run id {name!r} cannot name a file: use letters, digits, '.', '_' and '-'")
    return _keep(folder / f"{name}.html", text)


def _keep(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable_io.write(str(path), text.encode())  # atomic: a browser may read, another run may write
    except OSError as error:
        raise GapbenchError(
            f"cannot write the report {path}: {error.strerror}; choose another folder with -o"
        ) from error
    return path


def cards(folder: Path) -> tuple[list[html.Card], list[html.Card]]:
    """Return the cards of the pages of ``folder``, newest first: of runs, and of diffs."""
    shown = [card for path in folder.glob("*.html") if (card := card_of(path)) is not None]
    shown.sort(key=lambda card: (card["started"], card["name"]), reverse=True)
    return [card for card in shown if card["kind"] == "run"], [card for card in shown if card["kind"] == "diff"]


def card_of(path: Path) -> html.Card | None:
    """Read a page's card; None if it has none or is from an incompatible gapbench."""
    with path.open(encoding="utf-8", errors="replace") as page:
        content = _CARD.search(page.read(_HEAD))
    try:
        card = json.loads(unescape(content[1] if content else ""))
    except ValueError:
        return None
    fields = html.FIELDS.get(str(card.get("kind"))) if isinstance(card, dict) else None
    return {**card, "name": path.stem} if fields is not None and fields <= card.keys() else None
