"""In what order commits came, as far as the repository in a folder knows."""

from collections.abc import Iterable
from pathlib import Path

from gapbench import git


def places(commits: Iterable[str], folder: Path | None = None) -> dict[str, int] | None:
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
