"""Call git in the repository of a folder, without hooks and monitors, which may come from an untrusted commit."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from msgspec import Struct

_SETTINGS = (
    f"core.hooksPath={os.devnull}", "core.fsmonitor=false", "log.showSignature=false", "i18n.logOutputEncoding=UTF-8",
    "color.ui=false", "color.diff=false", "color.status=false", "status.showUntrackedFiles=normal",
    "core.abbrev=40", "diff.algorithm=default", "diff.context=3", "diff.renames=true", "diff.relative=false",
    "diff.noprefix=false", "diff.mnemonicPrefix=false", "diff.ignoreSubmodules=none",
)  # fmt: skip
"""Settings in place of the user's: no hooks, no monitor, and output in the form that is parsed here."""


class Git(Struct, frozen=True, kw_only=True):
    """A commit, and whether the tree was dirty, with a hash of the difference; None means unknown."""

    commit: str | None = None
    branch: str | None = None
    subject: str | None = None
    dirty: bool | None = None
    diff_hash: str | None = None


def call(folder: Path | None, *arguments: str, lines: Iterable[str] = ()) -> str:
    """Return the output of git in ``folder`` (the current one for None), with ``lines`` on its standard input.

    Git's own variables are removed: in a hook they name an index that a worktree would overwrite. Raises `OSError`
    without git, `subprocess.CalledProcessError` where it fails, and `ValueError` for arguments no process can have.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *(word for setting in _SETTINGS for word in ("-c", setting)), *arguments]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        command, cwd=folder, env=variables, input=text, capture_output=True, text=True, errors="replace", check=True
    )
    return done.stdout.rstrip("\n")


def ask(folder: Path | None, *arguments: str, lines: Iterable[str] = ()) -> str | None:
    """Return the output of `call`, None where it raises: no git, no repository, no such object."""
    try:
        return call(folder, *arguments, lines=lines)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def refusal(folder: Path | None = None) -> str | None:
    """Return git's reason not to read the repository of ``folder``; None where it does, or where there is none."""
    try:
        call(folder, "rev-parse", "--git-dir")
    except subprocess.CalledProcessError as error:
        sentence = str(error.stderr).partition("\n")[0].removeprefix("fatal: ")
        return None if sentence.startswith("not a git repository") else sentence
    except (OSError, ValueError):
        pass
    return None


def describe(folder: Path | None = None, fresh: bool = False) -> Git | None:
    """Return the commit of ``folder``, None without one; a ``fresh`` checkout is clean: no filter is started."""
    here = partial(ask, folder)
    commit = here("rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    difference = "" if fresh else here("diff", "--no-ext-diff", "--no-textconv", "HEAD") or ""
    untracked = "" if fresh else here("status", "--porcelain") or ""
    dirty = bool(difference or untracked)
    digest = hashlib.sha256(f"{untracked}\n{difference}".encode()).hexdigest()[:12]
    return Git(
        commit=commit,
        branch=here("symbolic-ref", "--quiet", "--short", "HEAD"),  # None where HEAD is detached
        subject=here("log", "-1", "--format=%s"),
        dirty=dirty,
        diff_hash=digest if dirty else None,
    )


def tracked(folder: Path) -> str | None:
    """Return the commit and a hash of the difference of ``folder``'s tracked files; None where there is no commit."""
    commit = ask(folder, "rev-parse", "--verify", "HEAD")
    difference = ask(folder, "diff", "--no-ext-diff", "--no-textconv", "HEAD") or ""
    return commit and f"{commit}-{hashlib.sha256(difference.encode()).hexdigest()[:12]}"
