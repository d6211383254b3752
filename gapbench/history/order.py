"""In what order runs belong: that of their commits, where the repository in the current folder knows them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gapbench import git
from gapbench.run import Run


@dataclass(frozen=True, slots=True)
class Order:
    """Runs, oldest first, ``by`` commit or start, and a phrase that says which and why."""

    runs: list[str]
    by: str
    phrase: str


def order(documents: Sequence[Run], folder: Path | None = None) -> Order:
    """Return the order of runs: by commit if the repository of ``folder`` has them all.

    Runs of one commit are in the order of their start. Where a commit is not known, commits and times would make two
    orders that contradict each other, so that all go by time.
    """
    runs = {one.id: one.commit for one in sorted(documents, key=lambda one: one.id)}  # ids are times
    places = places_of([known for known in runs.values() if known], folder)
    if places is None:
        return Order(list(runs), "start", "by start time, as this folder is in no git repository")
    placed = {run: places[known] for run, known in runs.items() if known in places}
    if lacking := len(runs) - len(placed):
        phrase = f"by start time, as this repository lacks the commits of {lacking} of {len(runs)} runs"
        return Order(list(runs), "start", phrase)
    return Order(sorted(runs, key=lambda run: placed[run]), "commit", "in the order of their commits")


def places_of(commits: Iterable[str], folder: Path | None = None) -> dict[str, int] | None:
    """Return the place of every commit in git's topological order: parents first, branches kept together.

    Commits that the repository does not have are left out. None where ``folder`` (the current one by default) is in no
    repository.
    """
    asked = [commit for commit in dict.fromkeys(commits) if commit and not set(commit) - set("0123456789abcdef")]
    # asked for by name, each gets a line: "<full hash> commit", or "<name> missing"
    found = git.ask(folder, "cat-file", "--batch-check=%(objectname) %(objecttype)", lines=asked)
    if found is None:
        return None
    full = {
        commit: line.split()[0]
        for commit, line in zip(asked, found.splitlines(), strict=True)
        if line.split()[1:] == ["commit"]
    }
    if not full:
        return {}
    walked = git.ask(folder, "rev-list", "--topo-order", "--reverse", "--stdin", lines=full.values()) or ""
    place = {commit: index for index, commit in enumerate(walked.splitlines())}
    return {commit: place[known] for commit, known in full.items() if known in place}


def commit_of(name: str, folder: Path | None = None) -> str | None:
    """Return the commit that git understands by ``name`` (a tag, a branch, HEAD~3), None if by no means."""
    return git.ask(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}") or None
