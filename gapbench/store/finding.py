"""Which run is meant, and what a list says of each."""

from typing import Any

from gapbench.errors import GapbenchError
from gapbench.store.index import Listing

COLUMNS = (
    "run",
    "started",
    "ended",
    "suites",
    "tag",
    "commit",
    "branch",
    "subject",
    "device",
    "complete",
    "unreadable",
)


def described(run: str, found: Listing) -> dict[str, Any]:
    """Return the row of a run in a list, by `COLUMNS`."""
    if run in found.unreadable:
        return {**dict.fromkeys(COLUMNS), "run": run, "complete": False, "unreadable": found.unreadable[run]}
    one = found.runs[run]
    return {
        "run": run,
        **{name: getattr(one, name) for name in ("started", "ended", "tag")},
        "suites": ",".join(one.suites),
        **{name: getattr(one.git, name, None) for name in ("commit", "branch", "subject")},
        "device": one.machine.device_description,
        "complete": one.is_complete,
        "unreadable": None,
    }


def resolve(found: Listing, name: str, url: str) -> str:
    """Return the run that ``name`` means: a unique prefix, a commit, branch or tag (its newest), or latest.

    A run that cannot be read is meant by its id only. Raises `GapbenchError` where there is none.
    """
    if not found.ids:
        raise GapbenchError(f"the store {url} holds no runs; measure one with: gapbench run")
    if name == "latest":
        if not found.runs:
            raise GapbenchError(next(iter(found.unreadable.values())))
        return list(found.runs)[-1]
    if name in found.ids:
        return name
    by_prefix = [run for run in found.ids if name and run.startswith(name)]
    if len(by_prefix) > 1:
        raise GapbenchError(f"run {name!r} is ambiguous in {url}: {', '.join(by_prefix)}")
    if by_prefix:
        return by_prefix[0]
    for run, one in reversed(found.runs.items()):
        named = name in (one.tag, one.git and one.git.branch)
        if named or (len(name) >= 4 and (one.commit or "").startswith(name)):
            return run
    newest = ", ".join(found.ids[:-6:-1])
    raise GapbenchError(f"there is no run {name!r} in {url}; the newest are: {newest}")
