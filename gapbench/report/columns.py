"""Frames as compact JSON for the scripts of a page: by columns, every value once.

A column is ``{"values": […]}``, or ``{"names": […], "codes": […]}`` where texts repeat, or ``{"constant": …}`` where
there is but one value; one that is null throughout is left out. Values are to be divided by ``per`` where there is one:
in nanoseconds, say, a time has no zeros to spell out.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from gapbench.stats import Floats

DIGITS = 5
"""Significant digits of floats: one more than any page shows."""

Columns = dict[str, dict[str, Any]]


def columns(frame: pd.DataFrame, names: Iterable[str] | None = None) -> Columns:
    """Return the columns of ``frame`` (those of ``names`` that it has) as pages read them."""
    chosen = list(frame.columns) if names is None else [name for name in names if name in frame]
    return {str(name): column for name in chosen if (column := _column(frame[name])) is not None}


def _column(series: pd.Series) -> dict[str, Any] | None:
    if series.isna().all():
        return None
    if pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
        return _numbers(np.asarray(series.astype("float64"), dtype=np.float64))
    values = [one if isinstance(one, list | tuple) else _text(one) for one in series.tolist()]
    if any(isinstance(one, list | tuple) for one in values):
        return {"values": values}
    codes, names = pd.factorize(np.array(values, dtype=object), use_na_sentinel=True)
    if len(names) == 1 and (codes >= 0).all():
        return {"constant": names[0]}
    return {"names": names.tolist(), "codes": codes.tolist()} if len(names) < len(values) / 2 else {"values": values}


def _numbers(numbers: Floats) -> dict[str, Any]:
    """Return numbers to `DIGITS` digits, whole ones as integers, null for what is no number."""
    if (numbers == numbers[0]).all():
        return {"constant": _number(float(numbers[0]))}
    sizes = np.abs(numbers[np.isfinite(numbers)])
    broken = sizes[sizes != np.trunc(sizes)]
    places = DIGITS - 1 - math.floor(math.log10(np.median(broken))) if len(broken) else 0
    if not 0 < places < 20 or sizes.max() > 1e100:  # nothing that is measured is so large
        return {"values": [_number(one) for one in numbers.tolist()]}
    return {"per": 10**places, "values": [_number(one) for one in (numbers * 10.0**places).tolist()]}


def _number(value: float) -> int | float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"  # JSON has no such number, scripts do
    rounded = value if value.is_integer() else float(f"{value:.{DIGITS - 1}e}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def script_json(value: object) -> Markup:
    """Return JSON that cannot end the script element which it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escaped = text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
    return Markup(escaped)  # noqa: S704 - no markup is left in it
