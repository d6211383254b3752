"""What made a side of ``gapbench ab`` slower: profile both sides of what regressed, compare, and keep it in the run."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gapbench.cases import Case
from gapbench.compare import Row
from gapbench.measuring import memory, servers
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import Contest
from gapbench.measuring.source import Source
from gapbench.profiling import comparison, job, profiles
from gapbench.records import BASE, HEAD
from gapbench.store import Store
from gapbench.store import profiles as kept

_PROCESSES = 3
"""A fresh process is 5 to 20 % faster or slower than another: of each side's the middle one is compared."""


@dataclass(frozen=True, slots=True)
class _Side:
    document: dict[str, Any]
    files: dict[str, bytes]

    @property
    def sources(self) -> dict[str, str]:
        """What Inductor generated, by file name."""
        return {name: code.decode() for name, code in self.files.items() if name.endswith(".py")}


def explain(store: Store, run: str, rows: Iterable[Row], base: Source, head: Source) -> Iterator[Row]:
    """Explain each of ``rows`` of a stored run, and yield it once that is kept: head's profile has the explanation.

    Rows that differ by their clock have one explanation. Workers have the memory settings that they had in the
    comparison, so page faults of temporaries are as rare as they were there.
    """
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        found.setdefault((row.case, row.implementation), row)
    contests = [Contest("profile", Case.from_id(row.case), {row.implementation: row.spec}) for row in found.values()]
    with ForkServer(servers.preload(contests), variables=memory.variables("kept")) as server:
        server.wait_ready()
        for row in found.values():
            before, after = _both(server, row, base, head)
            why = comparison.compare(before.document, after.document, row.ratio, (before.sources, after.sources))
            for side, name, more in ((before, BASE, {}), (after, HEAD, {"explanation": why.document()})):
                kept.keep(store, run, {**side.document, "side": name, **more}, side.files)
            yield row


def _both(server: ForkServer, row: Row, base: Source, head: Source) -> tuple[_Side, _Side]:
    """Profile both sides in turn, each in fresh processes, and return the middle one of each."""
    found: dict[str, list[_Side]] = {BASE: [], HEAD: []}
    for _ in range(_PROCESSES):
        for name, source in ((BASE, base), (HEAD, head)):
            request = job.Request(Case.from_id(row.case), row.spec, source=source, attempts=1)
            with profiles.one(server, row.implementation, request) as profile:
                found[name].append(_Side(profile.document, profile.files))
    return _middle(found[BASE]), _middle(found[HEAD])


def _middle(sides: list[_Side]) -> _Side:
    """Return the profile of median time, or one that failed."""
    if failed := [side for side in sides if side.document["status"] != "ok"]:
        return failed[0]
    middle = statistics.median_low(side.document["seconds"] for side in sides)
    return next(side for side in sides if side.document["seconds"] == middle)
