"""Format numbers for people; shared by the HTML report and the terminal's tables.

Every function takes a value of a data frame (float, integer, None, NaN or pandas.NA) and returns plain text, not
escaped. A value that was not measured is ``MISSING``, never 0.
"""

import math
from collections.abc import Mapping
from typing import Any

from gapbench.errors import counted as counted

MISSING = "–"  # noqa: RUF001 - an en dash, as tables print it
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def missing(value: Any) -> bool:
    """Tell whether ``value`` is null: None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)  # only null values differ from themselves
    except (TypeError, ValueError):  # pandas.NA has no truth value; an array compares by element
        return not hasattr(value, "__len__")


def text(value: Any) -> str:
    """Return ``value`` as text: ``MISSING`` for a null, whole floats without their ``.0``."""
    if missing(value) or value == "":
        return MISSING
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def shortened(name: str, most: int) -> str:
    """Shorten a name to at most ``most`` characters, with an ellipsis in its middle."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[len(name) - (most - 1) // 2 :]}"


def number(value: Any, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` significant digits and no exponent: 0.0123, 9.31, 412, 1,234."""
    if missing(value):
        return MISSING
    value = float(value)
    return f"{value:,.{_decimals(value, digits)}f}" if math.isfinite(value) else str(value)


def seconds(value: Any, digits: int = 3) -> str:
    """Return a time in the largest unit in which it is at least 1: ``9.31 µs``."""
    if missing(value):
        return MISSING
    scale, unit = _unit(float(value), digits)
    return f"{number(float(value) / scale, digits)} {unit}"


def seconds_interval(value: Any, low: Any, high: Any) -> str:
    """Return the interval of a time in its unit and precision: ``[9.25, 9.38]``, empty if there is none."""
    if missing(value) or missing(low) or missing(high):
        return ""
    scale, _ = _unit(float(value), 3)
    decimals = _decimals(float(value) / scale, 3)
    return f"[{float(low) / scale:,.{decimals}f}, {float(high) / scale:,.{decimals}f}]"


def ratio(value: Any) -> str:
    """Return a ratio of times: ``0.42×``, at least two digits and two decimals below 10."""  # noqa: RUF002
    if missing(value):
        return MISSING
    return f"{float(value):,.{_ratio_decimals(float(value))}f}×"  # noqa: RUF001


def ratio_interval(value: Any, low: Any, high: Any) -> str:
    """Return the interval of a ratio: ``[0.418, 0.424]``, empty if there is none.

    It has one decimal more than `ratio`, and is empty without width. One bound alone is ``at least 1.61×``.
    """  # noqa: RUF002
    if missing(low) != missing(high):
        return f"at most {ratio(high)}" if missing(low) else f"at least {ratio(low)}"
    if missing(value) or missing(low) or low == high:
        return ""
    decimals = _ratio_decimals(float(value)) + 1
    return f"[{float(low):,.{decimals}f}, {float(high):,.{decimals}f}]"


def ratio_with_interval(value: Any, low: Any, high: Any) -> str:
    """Return a ratio with its interval: ``0.42× [0.418, 0.424]``."""  # noqa: RUF002
    return f"{ratio(value)} {ratio_interval(value, low, high)}".rstrip()


def overheads(measured: Mapping[str, float | None]) -> str:
    """Return the overheads that a clock measured: ``floor 1.2 µs, launch 3.4 µs``; empty if none."""
    costs = {name: value for name, value in measured.items() if value is not None}
    return ", ".join(f"{name.removesuffix('_seconds').replace('_', ' ')} {seconds(costs[name])}" for name in costs)


def count(value: Any) -> str:
    """Return an integer with separated thousands: ``123,642,856``."""
    return MISSING if missing(value) else f"{int(value):,}"


def size(value: Any) -> str:
    """Return a number of bytes in binary units: ``31.3 GiB``."""
    if missing(value):
        return MISSING
    value = float(value)
    exponent = min(int(math.log(value, 1024)), len(_BYTES) - 1) if value >= 1 else 0
    return f"{number(value / 1024**exponent) if exponent else int(value)} {_BYTES[exponent]}"


def duration(value: Any) -> str:
    """Return a duration, rounded for reading: ``42 s``, ``3 min 5 s``, ``2 h 14 min``."""
    if missing(value):
        return MISSING
    if value < 10:
        return seconds(value, digits=2)
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _unit(value: float, digits: int) -> tuple[float, str]:
    """Return the largest unit in which ``value``, once rounded, is at least 1; nanoseconds if none is."""
    rounded = abs(float(f"{value:.{digits - 1}e}"))  # 999.7 ns reads 1.00 µs
    return next((unit for unit in _SECONDS if rounded >= unit[0] * (1 - 1e-12)), _SECONDS[-1])


def _decimals(value: float, digits: int) -> int:
    """Return how many decimals show ``digits`` significant digits of ``value``, after rounding."""
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return max(0, digits - 1 - exponent)


def _ratio_decimals(value: float) -> int:
    return _decimals(value, 3) if abs(value) >= 1 else max(2, _decimals(value, 2))
