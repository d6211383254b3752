"""Errors with messages for users, and their exit codes."""

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
    """The environment is unsuitable for measuring, or the machine is busy."""

    exit_code = ExitCode.REFUSED


class NothingMatchedError(GapbenchError):
    """A well-formed selection that matches nothing."""

    exit_code = ExitCode.NOTHING


_NO_MEMORY = (
    "out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc",
    "failed to map segment",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, as Python, a backend, C++ or the loader reports it."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in message for phrase in _NO_MEMORY)


def counted(value: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 case``, ``1,234 cases``; ``plural`` if that is not ``noun`` with an s."""
    return f"{value:,} {noun if value == 1 else plural or f'{noun}s'}"


def unknown(kind: str, name: str, choices: Iterable[str]) -> GapbenchError:
    """Return the error for an unknown name, which lists the known ones, the closest first."""
    choices = list(choices)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    listed = close + [choice for choice in choices if choice not in close]
    return GapbenchError(f"unknown {kind} {name!r}; there are: {', '.join(listed) or 'none'}")
