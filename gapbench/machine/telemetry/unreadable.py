"""Read values that may be unreadable: a value, or None and a reason."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class UnreadableError(Exception):
    """A value of the machine cannot be read; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """The reasons why fields could not be read, by the field's name; later successes do not remove them."""

    unreadable: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, read: Callable[[], T]) -> T | None:
        """Return what ``read`` returns, or None after noting the reason under ``name``."""
        try:
            return read()
        except UnreadableError as error:
            self.unreadable[name] = str(error)
            return None


def text(path: Path) -> str:
    """Return the stripped text of a small file. Raises `UnreadableError` for a missing or empty one."""
    try:
        content = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from None
    if not content:
        raise UnreadableError(f"{path} is empty")
    return content


def number(path: Path) -> int:
    """Return the integer in a file. Raises `UnreadableError` where there is none."""
    content = text(path)
    try:
        return int(content)
    except ValueError:
        raise UnreadableError(f"{path} holds {content[:40]!r}, not a number") from None
