"""Frames as compact JSON for the scripts of a page: by columns, every value once.

A column is ``{"values": […]}``, or ``{"names": […], "codes": […]}`` where texts repeat, or ``{"constant": …}`` where
there is but one value; one that is null throughout is left out.
"""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

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
        values: list[Any] = _numbers(series)
    else:
        values = [one if isinstance(one, list | tuple) else _text(one) for one in series.tolist()]
        if not any(isinstance(one, list | tuple) for one in values):
            codes, names = pd.factorize(np.array(values, dtype=object), use_na_sentinel=True)
            if len(names) == 1 and (codes >= 0).all():
                return {"constant": names[0]}
            if len(names) < len(values) / 2:
                return {"names": names.tolist(), "codes": codes.tolist()}
    if all(one == values[0] for one in values):
        return {"constant": values[0]}
    return {"values": values}


def _numbers(series: pd.Series) -> list[Any]:
    """Return numbers to `DIGITS` digits, whole ones as integers, null for what is no number."""
    found: list[Any] = []
    for value in series.astype(float).tolist():
        if value != value or value in (np.inf, -np.inf):
            found.append(None if value != value else str(value))
        elif value.is_integer() and abs(value) < 2**53:
            found.append(int(value))
        else:
            found.append(float(f"{value:.{DIGITS - 1}e}"))
    return found


def _text(value: Any) -> str | None:
    return None if value is None or value != value or value is pd.NA else str(value)


def script_json(value: object) -> Markup:
    """Return JSON that cannot end the script element which it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escaped = text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
    return Markup(escaped)  # noqa: S704 - no markup is left in it
