"""How people write quantities: durations, shares, and shards."""

import re

from gapbench.errors import GapbenchError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``5m`` or ``1h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", text)
    if not match:
        raise GapbenchError(f"malformed duration {text!r}: write it as in 60s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def parse_share(text: str) -> float:
    """Return ``1%`` or ``0.01`` as a fraction of 1."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text)
    if not match:
        raise GapbenchError(f"malformed share {text!r}: write it as in 1% or 0.01")
    if not match[2] and float(match[1]) >= 1:
        raise GapbenchError(f"a share of {text} is {100 * float(match[1]):g} %; write {text}% or a number below 1")
    return float(match[1]) / (100 if match[2] else 1)


def parse_shard(text: str) -> tuple[int, int]:
    """Return the number, from 1, and the count of ``2/8``."""
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise GapbenchError(f"malformed shard {text!r}: write it as in 2/8, the second of eight")
    return int(match[1]), int(match[2])
