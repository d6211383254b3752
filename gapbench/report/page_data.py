"""Encode frames as compact JSON for the scripts of pages: by columns, every value once.

A column is ``{"values": […]}``, or ``{"names": […], "codes": […]}`` if texts repeat, or ``{"constant": …}`` if there is
only one value, and left out if all are null. Scripts divide values by ``per`` if there is one.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from gapbench.report import format as fmt
from gapbench.report.loaded_run import Stored
from gapbench.report.rows import CASE, certainty, key, names, records, remarks
from gapbench.statistics.stats import Floats
from gapbench.store import ceilings
from gapbench.store.metrics import METRICS

DIGITS = 5  # significant digits of floats: one more than any page shows

Columns = dict[str, dict[str, Any]]


def columns(frame: pd.DataFrame, names: Iterable[str] | None = None) -> Columns:
    """Encode the columns of ``frame``, or those of ``names`` that it has."""
    chosen = list(frame.columns) if names is None else [name for name in names if name in frame]
    return {str(name): column for name in chosen if (column := _column(frame[name])) is not None}


def _column(series: pd.Series) -> dict[str, Any] | None:
    if series.isna().all():
        return None
    if pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
        return _numbers(np.asarray(series.astype("float64"), dtype=np.float64))
    values = [
        value if isinstance(value, list | tuple) else None if pd.isna(value) else str(value)
        for value in series.tolist()
    ]
    if any(isinstance(value, list | tuple) for value in values):
        return {"values": values}
    codes, names = pd.factorize(np.array(values, dtype=object), use_na_sentinel=True)
    if len(names) == 1 and (codes >= 0).all():
        return {"constant": names[0]}
    return {"names": names.tolist(), "codes": codes.tolist()} if len(names) < len(values) / 2 else {"values": values}


def _numbers(numbers: Floats) -> dict[str, Any]:
    if (numbers == numbers[0]).all():
        return {"constant": _number(float(numbers[0]))}
    sizes = np.abs(numbers[np.isfinite(numbers)])
    broken = sizes[sizes != np.trunc(sizes)]
    decimals = DIGITS - 1 - math.floor(math.log10(np.median(broken))) if len(broken) else 0
    if not 0 < decimals < 20 or sizes.max() > 1e100:  # no measured value is so large
        return {"values": [_number(value) for value in numbers.tolist()]}
    return {"per": 10**decimals, "values": [_number(value) for value in (numbers * 10.0**decimals).tolist()]}


def _number(value: float) -> int | float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"  # JSON has no such number, scripts do
    rounded = value if value.is_integer() else float(f"{value:.{DIGITS - 1}e}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def script_json(value: object) -> Markup:
    """Encode a figure or a JSON value so that it cannot end the script element that holds it."""
    if isinstance(value, go.Figure):
        text = str(value.to_json())
    else:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escaped = text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
    return Markup(escaped)  # noqa: S704 - no markup is left in it


_CASE = (
    "suite", "operation", "label", "case", "shape", "dtype", "layout", "device", "pass", "threads", "bytes_moved",
    "clock", "memory", "winner", "ties", "certainty", "reference", "rows",
)  # fmt: skip
_ROW = (
    "implementation", "contender", "status", "reason", "seconds", "seconds_low", "seconds_high", "ratio", "ratio_low",
    "ratio_high", "best_ratio", "best_ratio_low", "best_ratio_high", "page_faults", "rounds", "samples", "stopped_by",
    *(metric.column for metric in METRICS), "ceiling_fraction", "ceiling", "max_error_ulp", "deterministic",
    "batch_invariant", "remarks", "peak_extra_bytes", "saved_bytes", "compile_seconds", "recompilations", "parameters",
    "code_path",
)  # fmt: skip


def data(stored: Stored) -> dict[str, Any]:
    """Return a run's cases and rows by columns, and the snippets of its implementations.

    ``cases`` has one entry for each case, clock and memory, with its number of ``rows``, which are in the same order.
    """
    of = stored.results.groupby([*CASE], sort=False, dropna=False).ngroup()
    results = stored.results.assign(of=of).sort_values("of", kind="stable")
    cases = results.drop_duplicates("of").assign(rows=of.value_counts(sort=False).sort_index().to_numpy())
    best = {key(row): row for row in records(stored.winners)}
    winners = [best.get(key(row), {}) for row in records(cases)]
    answers = {
        "winner": [winner.get("implementation") for winner in winners],
        "reference": [winner.get("reference") for winner in winners],
        "ties": [names(winner.get("ties")) for winner in winners],
        "certainty": [certainty(winner, stored.run) or None if winner else None for winner in winners],
    }
    answered = {name: pd.Series(values, cases.index, dtype=object) for name, values in answers.items()}
    added: dict[str, list[Any]] = {"ceiling": [], "remarks": []}
    for row in records(results):
        limit = None if fmt.missing(row["ceiling_fraction"]) else ceilings.limit_of(stored.run.ceilings, row)
        added["ceiling"].append(limit and ceilings.said(limit))
        added["remarks"].append((row["status"] == "ok" and remarks(row)) or None)
    extra = {name: pd.Series(values, results.index, dtype=object) for name, values in added.items()}
    return {
        "run": stored.run.id,
        "cases": sized(cases.assign(**answered), _CASE),
        "rows": sized(results.assign(**extra), _ROW),
        "metrics": [{"column": metric.column, "unit": metric.unit} for metric in METRICS],
        "unranked": sorted(results.loc[~results["ranked"].astype(bool), "operation"].unique()),
        "snippets": stored.run.snippets,
    }


_SHARED = ("operation", "shape", "dtype", "layout", "pass")  # what cases of different devices have in common
_OWN = ("device", "threads", "clock", "memory")
_CELL = (
    "case", "column", "implementation", "status", "reason", "fastest", "seconds", "seconds_low", "seconds_high",
    "ceiling_fraction", "address",
)  # fmt: skip


def of_runs(runs: Sequence[Stored]) -> dict[str, Any]:
    """Return the results of several runs as ``cells`` of ``cases`` and ``columns``.

    A column is a run; if devices differ, also a device, number of threads, clock and memory, which have no times but
    ``shares`` of each device's ceiling.
    """
    frames = []
    for stored in runs:
        describe, unknown = stored.run.machine.description, f"unknown device of {stored.run.id}"
        names = {device: describe(str(device)) or unknown for device in stored.results["device"].unique()}
        frames.append(stored.results.assign(run=stored.run.id, machine=stored.results["device"].map(names)))
    every = pd.concat(frames, ignore_index=True)
    shares = len(every.drop_duplicates(["device", "machine"])) > 1
    own = [name for name in _OWN if every[name].nunique(dropna=False) > 1]
    case, column = ([*_SHARED], ["run", *own]) if shares else ([*_SHARED, *own], ["run"])
    every["address"] = ["@".join(filter(None, map(str, key(row)))) for row in records(every[[*CASE]])]
    for name, by in (("case", case), ("column", column)):
        every[name] = every.groupby(by, sort=False, dropna=False).ngroup()
    every["fastest"] = every["ranked"].astype(bool) & (every["best"] == every["implementation"]).fillna(False)
    return {
        "shares": shares,
        "cases": sized(every.drop_duplicates("case").sort_values("case"), ["label", *case]),
        "columns": sized(every.drop_duplicates("column").sort_values("column"), ["machine", *column]),
        "cells": sized(every, [name for name in _CELL if not (shares and name.startswith("seconds"))]),
    }


def sized(frame: pd.DataFrame, names: Iterable[str] | None = None) -> dict[str, int | Columns]:
    """Encode a frame for a page's table."""
    return {"count": len(frame), "columns": columns(frame, names) if len(frame) else {}}
