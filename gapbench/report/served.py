"""What is at which address while a report is served: the site's pages, kept fresh, and the runs that are in progress.

========================  ==================================================================================
``/``                     the index, with the runs in progress on top
``/history.html``         the history of the runs that are complete by now
``/<run>.html``           a run's page, written anew where the store knows more by now; while it is measured, a redirect
``/<base>..<head>.html``  and whatever else of ours lies in the folder, as it is
``/live?run=<run>``       a run in progress
``/live.json[?run=…]``    what those pages show, to be asked for again and again
========================  ==================================================================================

Nothing is looked at unless somebody asks: a server that nobody watches takes no time from what is being measured.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gapbench.errors import GapbenchError
from gapbench.report import assets, html, private, site, standing
from gapbench.report.history import page as past
from gapbench.report.live import Follower
from gapbench.store import Store

_RUN = re.compile(r"\w[\w.-]*")
_NAME = re.compile(rf"/(?P<stem>{_RUN.pattern})\.(?P<ending>html|css|js)")
_SHARED = re.compile(r"(?:report|datatables|plotly)-[\w.]+")
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is at an address: a body in UTF-8 and its media type, or the ``place`` where it is instead.

    ``inline`` pages carry their scripts, and the policy which of them may run.
    """

    body: str
    kind: str = "text/plain"
    status: HTTPStatus = HTTPStatus.OK
    place: str | None = None
    inline: bool = False


class Served:
    """A store's site in ``folder``; pages are written as `site.write` does it."""

    def __init__(self, store: Store, folder: Path, *, baseline: str | None = None, redact: bool = False) -> None:
        self._store, self._folder = store, folder
        self._baseline, self._redact = baseline, redact
        self._assets = {asset.name: asset for asset in (*assets.all_of_them(), assets.live_script())}
        self._followers: dict[str, Follower] = {}
        self._lock = threading.RLock()
        self._before = {run for run in store.ids() if _is_complete(store, run)}
        self._completed: dict[str, dict[str, Any]] = {}

    def answer(self, target: str) -> Answer:
        """Return what is at ``target``, an address without its host."""
        parts = urlsplit(target)
        (run,) = parse_qs(parts.query).get("run", [None])[:1]
        try:
            if run is not None and not _RUN.fullmatch(run):
                raise GapbenchError("there is no such run")
            return self._route(unquote(parts.path), run)
        except GapbenchError as error:
            return Answer(f"gapbench: {error}\n", status=HTTPStatus.NOT_FOUND)

    def _route(self, path: str, run: str | None) -> Answer:
        routes: dict[str, Callable[[], Answer]] = {"/": self._index, "/index.html": self._index}
        routes["/history.html"] = lambda: Answer(html.history_page(past.read(self._store)), _KINDS["html"])
        routes["/favicon.ico"] = lambda: Answer("", status=HTTPStatus.NO_CONTENT)  # browsers ask for it unbidden
        if run is None:
            routes["/live.json"] = lambda: _json({"runs": self._standings()})
        else:
            routes |= {"/live": lambda: self._live(run), "/live.json": lambda: _json(self._state(run))}
        if path in routes:
            return routes[path]()
        found = _NAME.fullmatch(path)
        if found is None:
            raise GapbenchError("there is no such page")
        return self._page(found["stem"]) if found["ending"] == "html" else self._file(found["stem"], found["ending"])

    def _index(self) -> Answer:
        standings = self._standings()  # writes the pages of what has been completed
        return Answer(html.live_index(*site.cards(self._folder), standings), _KINDS["html"])

    def _live(self, run: str) -> Answer:
        described = private.run(self._store.describe(run), self._redact)
        return Answer(html.live_page(described, self._state(run)), _KINDS["html"])

    def _state(self, run: str) -> dict[str, Any]:
        if run not in self._followers and not self._store.has(run):
            raise GapbenchError(f"there is no run {run!r} in this store")
        with self._lock:
            follower = self._followers.setdefault(run, Follower(self._store, run))
        state = _linked(follower.state())
        if state["state"] == standing.COMPLETE:
            with self._lock:
                self._followers.pop(run, None)
        return state

    def _standings(self) -> list[dict[str, Any]]:
        """Return how the runs are that were not complete when this server began, and write the pages of what now is."""
        found = []
        with self._lock:
            for run in self._store.folders():
                if run in self._before:
                    continue
                try:
                    found.append(self._completed.get(run) or self._standing(run))
                except GapbenchError:  # no run, or not a whole one: `gapbench store verify` tells
                    continue
        return standing.newest_first(found)

    def _standing(self, run: str) -> dict[str, Any]:
        one = _linked(standing.read(self._store, run, datetime.now(UTC)))
        if one["state"] == standing.COMPLETE:
            try:
                self.write(run)
            except GapbenchError as error:
                one |= {"said": f"It has no page: {error}", "page": None}
            self._completed[run] = one
        return one

    def _page(self, name: str) -> Answer:
        path = self._folder / f"{name}.html"
        if self._store.has(name):
            one = standing.read(self._store, name, datetime.now(UTC))
            if not one["page"]:
                return Answer("", status=HTTPStatus.FOUND, place=f"live?run={quote(name)}")
            self.write(name)
        if not self._ours(path) or site.card_of(path) is None:
            raise GapbenchError("there is no such page")
        return Answer(path.read_text(encoding="utf-8"), _KINDS["html"], inline=True)

    def write(self, run: str) -> None:
        """Write a run's page, unless there is one since the run was last written to."""
        path = self._folder / f"{run}.html"
        written = self._store.growth(run).written.timestamp()
        with self._lock:
            if not path.is_file() or path.stat().st_mtime < written:
                site.write(self._store, [run], self._folder, baseline=self._baseline, redact=self._redact)

    def _file(self, stem: str, ending: str) -> Answer:
        name = f"{stem}.{ending}"
        if name in self._assets:
            return Answer(self._assets[name].text, _KINDS[ending])
        path = self._folder / name
        if not _SHARED.fullmatch(stem) or not self._ours(path):
            raise GapbenchError("there is no such file")
        return Answer(path.read_text(encoding="utf-8"), _KINDS[ending])

    def _ours(self, path: Path) -> bool:
        """Tell whether a file lies in the folder itself, and is no link to elsewhere."""
        return path.is_file() and path.resolve().parent == self._folder.resolve()


def _linked(one: dict[str, Any]) -> dict[str, Any]:
    """Add where a run is to be seen."""
    name = quote(one["run"])
    return {**one, "live": f"live?run={name}", "page": f"{name}.html" if one["page"] else None}


def _is_complete(store: Store, run: str) -> bool:
    try:
        return store.describe(run).is_complete
    except GapbenchError:
        return False


def _json(document: dict[str, Any]) -> Answer:
    return Answer(json.dumps(document, ensure_ascii=False, allow_nan=False), _KINDS["json"])
