"""Write the files of a report: a folder of pages that share their scripts, or pages that stand alone.

``reports/`` has ``index.html``, ``history.html``, ``<run id>.html`` for each run, ``runs.html`` for the runs that were
last reported together, ``<base>..<head>.html`` for each diff, ``<run id>.<case>.html`` for each profiled case, and the
shared files of `gapbench.report.assets`. The index lists all pages of the folder, including those of earlier reports:
each page carries a card that describes it. A published folder also has badges, and may hold pages of several stores.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from pathlib import Path

from gapbench.analysis.compare import interleaved
from gapbench.errors import GapbenchError, NothingMatchedError
from gapbench.report import assets, badges, html, profiles
from gapbench.report import history as past
from gapbench.report.diff.lines import explained
from gapbench.report.loaded_run import Stored, against, load
from gapbench.report.redaction import public
from gapbench.store import durable_io
from gapbench.store import profiles as stored_profiles
from gapbench.store.store import Store

_HEAD = 65536  # a page's card is in its first bytes
_CARD = re.compile(r'<meta name="gapbench" content="([^"]*)"')  # where jinja2 escapes quotes
_OURS = re.compile(rf'{_CARD.pattern}|<svg [^>]*aria-label="gapbench|^{{"schemaVersion": 1, "label": "gapbench')


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
        # a baseline that is one of several shown runs has a page too, without a diff against itself
        named = None if run == baseline and len(runs) > 1 else baseline
        shown, texts = _rendered(store, run, named, folder, runs, redact, single_file)
        pages.append(_write(folder, texts))
        plain += [] if shown.run.is_comparison else [shown]
    if len(plain) > 1:
        pages.append(_write(folder, {"runs": html.runs_page(plain, single_file=single_file)}))
    if not single_file:
        _write_shared(store, folder)
    return pages


def publish(
    store: Store, runs: Sequence[str], folder: Path, redact: bool, left_out: Callable[[GapbenchError], object]
) -> list[Path]:
    """Add pages and badges to a folder that is served as a website; return the paths of the runs' pages.

    Without ``runs``, these are the complete runs that have no page there, oldest first; ``left_out`` is called with the
    error of each that cannot be read. Raises `GapbenchError` as `write` does, and for an incomplete run;
    `NothingMatchedError` if no run is complete.
    """
    listed = store.listing()
    for reason in listed.unreadable.values() if not runs else ():
        left_out(GapbenchError(reason))
    complete = [run for run, described in listed.runs.items() if described.is_complete and not described.is_matrix]
    if not complete:
        raise NothingMatchedError(f"no run in {store.url} is complete; measure one with: gapbench run")
    _write(folder, {"index": html.index_page(*cards(folder), False)})  # raises before the work
    (folder / ".nojekyll").touch()  # else GitHub Pages leaves out files whose names begin with an underscore
    pages = []
    chosen = runs or [run for run in complete if card_of(folder / f"{run}.html") is None]
    for run in chosen:
        try:
            shown, texts = _rendered(store, run, None, folder, chosen, redact, single_file=False)
            if not shown.run.is_complete:  # its page would not be renewed
                raise GapbenchError(f"run {run} is not complete; complete it with: gapbench run --resume {run}")
        except GapbenchError as error:
            if runs:
                raise
            left_out(error)
        else:
            pages.append(_write(folder, texts))
    _write_shared(store, folder)
    for name, text in badges.files(*cards(folder)).items():
        _keep(folder / name, text)
    return pages


def _rendered(
    store: Store, run: str, baseline: str | None, folder: Path, runs: Sequence[str], redact: bool, single_file: bool
) -> tuple[Stored, dict[str, str]]:
    """Return a run as it is shown, and the HTML of its page, its profiled cases and its diff by name."""
    stored = load(store, run)
    if stored.results.empty:
        raise GapbenchError(f"run {run} has no results yet; complete it with: gapbench run --resume {run}")
    if stored.run.is_matrix:
        raise GapbenchError(f"run {run} is a matrix of versions, which has no page; see it with: gapbench diff {run}")
    profiled = {case: profiles.public(documents) for case, documents in stored_profiles.read(store, run).items()}
    diff, shown = None, public(stored, redact)
    if stored.run.is_comparison:
        sides = explained(store, interleaved(stored))
        text = html.diff_page(sides, pages=(), redact=redact, single_file=single_file, profiled=profiled)
    else:
        diff, unsupported_reason = against(store, stored, baseline)
        text = html.run_page(shown, diff, unsupported_reason, single_file=single_file, profiled=profiled)
    texts = {run: text}
    for case, documents in profiled.items():
        texts[profiles.name(run, case)] = html.profile_page(run, documents, single_file=single_file)
    if diff is not None:
        linked = {path.stem for path in folder.glob("*.html")} | set(runs)
        texts[html.diff_name(diff)] = html.diff_page(diff, pages=linked, redact=redact, single_file=single_file)
    return shown, texts


def _write_shared(store: Store, folder: Path) -> None:
    for asset in assets.all_of_them():
        _keep(folder / asset.name, asset.text)
    _write(folder, {"history": html.history_page(past.read(store))})
    _write(folder, {"index": html.index_page(*cards(folder), (folder / "runs.html").exists())})


def _write(folder: Path, pages: Mapping[str, str]) -> Path:
    """Write pages by name; return the path of the first."""
    for name in pages:
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise GapbenchError(f"run id {name!r} cannot name a file: use letters, digits, '.', '_' and '-'")
    paths = [_keep(folder / f"{name}.html", text) for name, text in pages.items()]
    return paths[0]


def _keep(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".html", ".svg", ".json") and path.exists() and not _OURS.search(_head(path)):
            raise GapbenchError(f"{path} is not from gapbench, so it was not overwritten; choose another folder")
        durable_io.write(str(path), text.encode(errors="replace"))  # atomic: a browser may read, another run may write
    except OSError as error:
        raise GapbenchError(f"cannot write the report {path}: {error.strerror}; choose another folder") from error
    return path


def _head(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as page:
        return page.read(_HEAD)


def cards(folder: Path) -> tuple[list[html.Card], list[html.Card]]:
    """Return the cards of the pages of ``folder``, newest first: of runs, and of diffs."""
    shown = [card for path in folder.glob("*.html") if (card := card_of(path)) is not None]
    shown.sort(key=lambda card: (card["started"], card["name"]), reverse=True)
    return [card for card in shown if card["kind"] == "run"], [card for card in shown if card["kind"] == "diff"]


def card_of(path: Path) -> html.Card | None:
    """Read a page's card; None if it has none, cannot be read or is from an incompatible gapbench."""
    try:
        content = _CARD.search(_head(path))
        card = json.loads(unescape(content[1] if content else ""))
    except (OSError, ValueError, RecursionError):
        return None
    fields = html.FIELDS.get(str(card.get("kind"))) if isinstance(card, dict) else None
    valid = fields is not None and all(isinstance(card.get(name), type_) for name, type_ in fields.items())
    return {**card, "name": path.stem} if valid else None
