"""What can go wrong for a user, and the exit code that says so."""

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line (a contract: CI jobs branch on them)."""

    DONE = 0
    POLICY = 1  # something named by --fail-on happened
    USAGE = 2  # usage, configuration or I/O
    FAILED = 3  # a selected implementation was wrong or failed
    REFUSED = 4  # the environment was refused, or the machine is busy
    NOTHING = 5  # nothing matched the selection
    INTERNAL = 70
    INTERRUPTED = 130


class GapbenchError(Exception):
    """An error with a message for the user: one line that names the culprit and the remedy."""

    exit_code = ExitCode.USAGE


class RefusedError(GapbenchError):
    """The environment is not one to measure in, or it is busy."""

    exit_code = ExitCode.REFUSED


class NothingMatchedError(GapbenchError):
    """The selection is well-formed and empty."""

    exit_code = ExitCode.NOTHING


_NO_MEMORY = (
    "out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc",
    "failed to map segment",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Tell it whatever says so: Python, a backend with a type of its own or a plain error, C++, or the loader."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY)


def counted(value: int, noun: str, plural: str = "") -> str:
    """Return a number of things with their name: ``1 case``, ``1,234 cases``; ``plural`` where it is not an s."""
    return f"{value:,} {noun if value == 1 else plural or f'{noun}s'}"


def unknown(kind: str, name: str, choices: Iterable[str]) -> GapbenchError:
    """Return the error for a name that does not exist, listing what does, closest match first."""
    choices = list(choices)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    listed = close + [choice for choice in choices if choice not in close]
    return GapbenchError(f"unknown {kind} {name!r}; there are: {', '.join(listed) or 'none'}")
