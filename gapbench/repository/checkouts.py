"""Check out commits of a repository as git worktrees, for the time of a measurement, and remove what killed ones left.

The commits may be untrusted. Hooks, monitors and filters are the user's configuration, but may name programs in the
work tree (``core.hooksPath = .husky``), which would be the commit's own, so none of them is started.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from gapbench.errors import GapbenchError
from gapbench.repository import git

HERE = "."  # the ref of the folder as it is, with uncommitted changes
_PREFIX = "gapbench-ab-"
_TRUSTED_FILTERS = ("lfs",)  # the user's own program, without which large files would be missing


@dataclass(frozen=True, slots=True)
class Checkout:
    """The commit that ``ref`` names, None for `HERE`, and its folder, the repository's own for `HERE`."""

    ref: str
    commit: str | None
    folder: Path


def top(folder: Path) -> Path:
    """Return the top folder of the repository of ``folder``, or the folder itself outside a repository."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()
    except subprocess.CalledProcessError:
        return folder.resolve()


def resolve(folder: Path, ref: str) -> str:
    """Return the commit that ``ref`` names. Raises `GapbenchError` where there is none, with what to fetch."""
    # --end-of-options: git must not read a ref as an option
    commit = git.ask(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is not None:
        return commit
    shallow = git.ask(folder, "rev-parse", "--is-shallow-repository")
    if shallow is None:
        if sentence := git.refusal(folder):
            raise GapbenchError(f"git does not read the repository of {folder}: {sentence}")
        raise GapbenchError(
            f"{folder} is in no git repository, so there is no commit {ref!r}; run this inside one, or compare "
            f"the folder as it is under two interpreters: gapbench ab {HERE} {HERE} --head-python PYTHON"
        )
    remedy = "this clone is shallow: git fetch --unshallow" if shallow == "true" else "fetch it first, or see: git log"
    raise GapbenchError(f"there is no commit {ref!r} in {folder}; {remedy}")


def first_parents(folder: Path, good: str, bad: str) -> list[str]:
    """Return the commits from ``good`` to ``bad``, both included, along first parents: a merge counts as one commit.

    Raises `GapbenchError` for refs that do not exist, and where ``good`` is not on that line.
    """
    if HERE in (good, bad):
        raise GapbenchError(f"{HERE} is no commit; commit the changes, or compare them with: gapbench ab HEAD {HERE}")
    whole = top(folder)
    old, new = resolve(whole, good), resolve(whole, bad)
    line = _git(whole, "rev-list", "--first-parent", new).splitlines()
    if old not in line[1:]:
        of = "is BAD" if old == new else f"is not before BAD ({bad}) on its line of first parents"
        raise GapbenchError(f"GOOD ({good}) {of}; choose an older commit of: git log --first-parent {bad}")
    return line[line.index(old) :: -1]


@contextlib.contextmanager
def checkouts(folder: Path, *refs: str) -> Iterator[list[Checkout]]:
    """Check out each of ``refs`` with fetched submodules, until the end; `HERE` as it is. Raises `GapbenchError`."""
    whole = top(folder)
    commits = [None if ref == HERE else resolve(whole, ref) for ref in refs]
    if not any(commits):
        yield [Checkout(ref, None, whole) for ref in refs]
        return
    _remove_stale(whole)
    parent = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield [
            Checkout(ref, commit, whole if commit is None else _add(whole, parent / str(number), commit))
            for number, (ref, commit) in enumerate(zip(refs, commits, strict=True))
        ]
    finally:
        _remove(whole, parent)


@contextlib.contextmanager
def harness() -> Iterator[Path]:
    """Yield a folder that contains only this gapbench, for an interpreter with its own packages."""
    with tempfile.TemporaryDirectory(prefix="gapbench-harness-") as folder:
        (Path(folder) / "gapbench").symlink_to(Path(__file__).parents[1])
        yield Path(folder)


def _add(whole: Path, folder: Path, commit: str) -> Path:
    try:
        _git(whole, *_no_filters(whole), "worktree", "add", "--quiet", "--detach", str(folder), commit)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        raise GapbenchError(f"git cannot check {commit[:12]} out: {lines[-1] if lines else error}") from error
    for path, pinned in _submodules(whole, commit):
        if (whole / path / ".git").exists():
            with contextlib.suppress(GapbenchError):  # the folder of an unfetched commit stays empty
                _add(whole / path, folder / path, pinned)
    return folder


def _submodules(whole: Path, commit: str) -> Iterator[tuple[str, str]]:
    for entry in _git(whole, "ls-tree", "-r", "-z", commit).split("\0"):
        if entry.startswith("160000 "):
            facts, _, path = entry.partition("\t")
            yield path, facts.split()[-1]


def _no_filters(whole: Path) -> list[str]:
    """Return the options with which git runs no filters on what it checks out, whatever ``.gitattributes`` says."""
    keys = git.ask(whole, "config", "--name-only", "--get-regexp", r"^filter\..*\.(smudge|process)$") or ""
    names = dict.fromkeys(key.removeprefix("filter.").rpartition(".")[0] for key in keys.splitlines())
    untrusted = [f"filter.{name}" for name in names if name not in _TRUSTED_FILTERS]
    settings = [f"{name}.{value}" for name in untrusted for value in ("smudge=", "process=", "required=false")]
    return [word for setting in settings for word in ("-c", setting)]


def _remove(whole: Path, parent: Path) -> None:
    shutil.rmtree(parent, ignore_errors=True)
    git.ask(whole, "worktree", "prune")
    git.ask(whole, "submodule", "--quiet", "foreach", "--recursive", "git worktree prune")


def _remove_stale(whole: Path) -> None:
    for line in _git(whole, "worktree", "list", "--porcelain").splitlines():
        parent = Path(line.removeprefix("worktree ")).parent
        owner = re.match(rf"{_PREFIX}(\d+)-", parent.name)
        if line.startswith("worktree ") and owner and not psutil.pid_exists(int(owner[1])):
            _remove(whole, parent)


def _git(folder: Path, *arguments: str) -> str:
    try:
        return git.call(folder, *arguments).strip()
    except FileNotFoundError as error:
        raise GapbenchError("git is not installed, which checks out commits; install git") from error
