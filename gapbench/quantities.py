"""How people write quantities: durations and shares."""

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
    return float(match[1]) / (100 if match[2] else 1)
