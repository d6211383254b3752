"""What a worker and its parent say to each other: JSON, in which a message is data and can be nothing else.

A worker runs code that nobody here has read (a user's file, HEAD of ``gapbench ab``) and may write whatever it likes
to its end of the line. Pickle would let it run code in the parent; here it can say the values and the dataclasses of
`_DATACLASSES`, with fields of the types that they declare. Everything else is a `MessageError`.

On the wire: four bytes of length, then the text. Objects have one key: ``{"tuple": […]}``, ``{"dict": [[key, value],
…]}``, or the name of a dataclass with its fields.
"""

import dataclasses
import importlib
import json
import numbers
import os
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

MOST_BYTES = 64 << 20
"""The longest message that is listened to; profiles of long calls have some MB, a round some 100 kB."""

_HEADER = 4
_MOST_INTEGER = 2**63 - 1
_DATACLASSES = {
    "Batches": "gapbench.measuring.schedule",
    "Fault": "gapbench.measuring.rounds",
    "Qualification": "gapbench.records",
    "RoundResult": "gapbench.measuring.rounds",
    "WorkerExit": "gapbench.measuring.template",
}
_HOLDERS: dict[Any, type] = {list: list, tuple: tuple, dict: dict, Mapping: dict}


class MessageError(Exception):
    """What was said is no message; the text says why."""


class Line:
    """One end of a socket between a worker and its parent; owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._heard = bytearray()

    def fileno(self) -> int:
        """Return the descriptor. Raises `OSError` once the line is closed."""
        if self._descriptor is None:
            raise OSError("the line is closed")
        return self._descriptor

    def send(self, message: object) -> None:
        """Say something. Raises `TypeError` for what is no message, `ConnectionError` if nobody listens."""
        text = encode(message)
        left = memoryview(len(text).to_bytes(_HEADER, "little") + text)
        while left:
            left = left[os.write(self.fileno(), left) :]

    def hear(self) -> tuple[Any] | None:
        """Take what has come, waiting for the first of it, and return a message once it is complete; else None.

        Never waits for the rest of a message, which may not come. Raises `EOFError` at the end, and `MessageError`.
        """
        piece = os.read(self.fileno(), self._missing())
        if not piece:
            raise EOFError
        self._heard += piece
        if self._missing():
            return None
        text = bytes(self._heard[_HEADER:])
        self._heard.clear()
        return (decode(text),)

    def recv(self) -> Any:
        """Wait for the next message and return it. Raises as `hear` does."""
        while True:
            if found := self.hear():
                return found[0]

    def close(self) -> None:
        """Hang up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _missing(self) -> int:
        """Return how many bytes there must be before this message can be read further."""
        if len(self._heard) < _HEADER:
            return _HEADER - len(self._heard)
        length = int.from_bytes(self._heard[:_HEADER], "little")
        if not 0 < length <= MOST_BYTES:
            raise MessageError(f"a message of {length:,} bytes, where at most {MOST_BYTES:,} are read")
        return _HEADER + length - len(self._heard)


def encode(message: object) -> bytes:
    """Return a message as text. Raises `TypeError` for what cannot be said."""
    return json.dumps(_plain(message), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode(text: bytes) -> Any:
    """Return what a text says. Raises `MessageError` for whatever else it is; runs nothing of its own."""
    try:
        return _read(json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise MessageError(f"no message ({type(error).__name__})") from error


def fits(value: object, hint: Any) -> bool:
    """Tell whether a value is of a declared type, with all that it holds."""
    if hint is Any:
        return True
    if hint is None or hint is types.NoneType:
        return value is None
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    holder = _HOLDERS.get(origin)
    if holder is None:
        return isinstance(value, (int, float) if hint is float else hint) and isinstance(value, bool) == (hint is bool)
    if isinstance(value, dict) and holder is dict:
        return all(fits(key, arguments[0]) and fits(one, arguments[1]) for key, one in value.items())
    if not isinstance(value, (list, tuple)) or not isinstance(value, holder):
        return False
    if origin is tuple and arguments[-1] is not ...:
        return len(value) == len(arguments) and all(fits(one, of) for one, of in zip(value, arguments, strict=True))
    return all(fits(one, arguments[0]) for one in value)


def _plain(value: object) -> Any:
    match value:
        case None | bool() | str():
            return value
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value)
        case list():
            return [_plain(one) for one in value]
        case tuple():
            return {"tuple": [_plain(one) for one in value]}
        case Mapping():
            return {"dict": [[_plain(key), _plain(one)] for key, one in value.items()]}
    name = type(value).__name__
    if name not in _DATACLASSES or not dataclasses.is_dataclass(value):
        raise TypeError(f"a {name} is no message")
    return {name: {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}}


def _read(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()  # half a surrogate pair could be written nowhere
        case int() if abs(value) > _MOST_INTEGER:
            raise ValueError("an integer beyond 64 bits")
        case list():
            return [_read(one) for one in value]
        case dict():
            ((name, content),) = value.items()
            if name == "tuple":
                return tuple(_read(list(content)))
            if name == "dict":
                return {_read(key): _read(one) for key, one in content}
            return _dataclass(name, content)
    return value


def _dataclass(name: str, content: dict[str, Any]) -> object:
    if name not in _DATACLASSES:
        raise ValueError(name)
    kind = getattr(importlib.import_module(_DATACLASSES[name]), name)
    fields = {field: _read(one) for field, one in content.items()}
    hints = get_type_hints(kind)
    if not all(fits(one, hints.get(field, None)) for field, one in fields.items()):
        raise ValueError(name)
    return kind(**fields)
