"""Export a run in the format of ``pytest --benchmark-json`` (pytest-benchmark 3 to 5).

Every entry's ``stats.data`` are seconds per call. ``extra_info`` names the row of results, which has more.
"""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from msgspec import to_builtins

from gapbench.errors import GapbenchError
from gapbench.repository.git import Git
from gapbench.store import records
from gapbench.store.records import with_memory
from gapbench.store.run import Run

KEY = ("case", "implementation", "contender", "clock", "memory")

VERSION = "5.3.1"  # the version of pytest-benchmark whose format is written
_PARAMS = ("shape", "dtype", "layout", "device", "pass", "threads")
_PYTHON = ("node", "processor", "machine", "python_compiler", "python_implementation", "python_build", "release")
_OPTIONS = ("disable_gc", "min_rounds", "max_time", "min_time", "warmup")


def document(run: Run, results: pd.DataFrame, samples: pd.DataFrame) -> dict[str, Any]:
    """Return a run as pytest-benchmark's document, of rows that are ok and have samples. Raises `GapbenchError`."""
    ok = dict(with_memory(results[results["status"] == "ok"]).set_index(list(KEY)).iterrows())
    groups = with_memory(samples).groupby(list(KEY), sort=False)
    benchmarks = [_benchmark(run.id, key, ok[key], group) for key, group in groups if key in ok]
    if not benchmarks:
        raise GapbenchError(f"run {run.id} has nothing to export: no implementation is ok and has samples")
    machine, git, python = run.machine, run.git or Git(), run.versions.get("python")
    cpu = {"brand_raw": machine.cpu, "count": machine.logical_cores}
    ours = to_builtins({"machine": machine, "versions": run.versions, "warnings": run.warnings})
    about = dict.fromkeys(_PYTHON) | dict.fromkeys(("python_implementation_version", "python_version"), python)
    about |= {"system": machine.system, "cpu": cpu, "gapbench": ours}
    commit = {"id": git.commit or "unversioned", "dirty": bool(git.dirty), "branch": git.branch or "(unknown)"}
    commit |= {"subject": git.subject, "diff_hash": git.diff_hash, "time": None, "author_time": None, "project": None}
    described = {"machine_info": about, "commit_info": commit, "datetime": run.started, "version": VERSION}
    return {**described, "benchmarks": benchmarks}


def _benchmark(run: str, key: Any, row: "pd.Series[Any]", samples: pd.DataFrame) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    case, implementation, contender, clock, memory = key
    stats = Stats()
    for seconds in samples["seconds_per_call"].tolist():
        stats.update(seconds)
    whose = implementation if contender == records.THIS else f"{implementation}@{contender}"
    group = "-".join(filter(None, (case, clock, memory)))
    name = f"{group}-{whose}"
    params = {column: _plain(row[column]) for column in _PARAMS}
    params |= {"implementation": whose, "clock": clock, **({"memory": memory} if memory else {})}
    named = {column: value for column, value in zip(KEY, key, strict=True) if value}
    return {
        "group": group,
        "name": name,
        "fullname": name if pd.isna(row["suite"]) else f"{row['suite']}::{name}",
        "params": params,
        "param": name,
        "extra_info": {"run": run, **named},
        "options": {**dict.fromkeys(_OPTIONS), "timer": clock},
        "stats": {**stats.as_dict(), "data": stats.data, "iterations": 1},  # data are per call already
    }


def _plain(value: Any) -> str | int | None:
    return None if pd.isna(value) else value if isinstance(value, str) else int(value)


def dumps(content: Mapping[str, Any]) -> str:
    """Encode a document as strict JSON, with numbers to the last bit."""
    return json.dumps(content, indent=1, allow_nan=False)
