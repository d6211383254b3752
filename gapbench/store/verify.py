"""Verify a store: every file readable, of a known schema, and in agreement with the others."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from gapbench.errors import GapbenchError, counted
from gapbench.store import index, records
from gapbench.store.pytest_benchmark import KEY
from gapbench.store.run import Run, parse
from gapbench.store.store import Store
from gapbench.store.tables import row_name

_TABLES = ("samples", "results")
_SHARD = r"shards/\d{6}\.parquet"
_FILES = re.compile(rf"run\.json|(samples|results)\.parquet|profiles/.+|{_SHARD}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about a run. ``kind`` is ``damage``, or ``note`` for open runs and leftovers, which lost nothing."""

    run: str
    kind: str
    sentence: str


def verify(store: Store, runs: Sequence[str] | None = None) -> list[Finding]:
    """Return the findings about ``runs``, by default about all folders of the store and its index."""
    findings: list[Finding] = []
    for run in store.folders() if runs is None else runs:
        if store.has(run):
            findings += [Finding(run, "damage", sentence) for sentence in damage(store, run)]
            findings += [Finding(run, "note", sentence) for sentence in _notes(store, run)]
        else:
            sentence = "leftover: a folder without run.json is not a run; remove it if it is yours"
            findings.append(Finding(run, "note", sentence))
    return findings + (list(_index(store)) if runs is None else [])


def _index(store: Store) -> Iterator[Finding]:
    remedy = f"remove {index.FILE}, which the next listing writes again"
    for run, row in (index.load(store) or {}).items():
        with contextlib.suppress(GapbenchError):  # it was removed, or its damage is a finding already
            if index.about(store.describe(run)) != row:
                yield Finding(run, "damage", f"{index.FILE} contradicts its run.json; {remedy}")


def damage(store: Store, run: str) -> Iterator[str]:
    """Yield a sentence for each file of a run that is unreadable, missing or contradicts another."""
    try:
        document = store.describe(run)
    except GapbenchError as error:
        yield _about(run, error)
        return
    stated = parse(run, store.read(run, "run.json") or b"").id
    if stated != run:
        yield f"run.json is of run {stated!r}: the folder was renamed, or files of two runs were mixed"
    files = store.files(run)
    missing = [f"{name}.parquet" for name in _TABLES if document.is_complete and f"{name}.parquet" not in files]
    yield from (f"{name} is missing, though the run is complete" for name in missing)
    shards = [file for file in files if re.fullmatch(_SHARD, file)]
    if "samples.parquet" not in files and shards != [f"shards/{number:06}.parquet" for number in range(len(shards))]:
        yield f"rounds are missing: {counted(len(shards), 'shard')}, the last is {shards[-1]}"
    # each by itself: a damaged one says nothing about the others
    readers: dict[str, Callable[[], pd.DataFrame]] = {}
    if "results.parquet" in files:
        readers["results"] = partial(store.results, [run], validate=True)
    if not document.is_complete:
        readers |= {file: partial(store.round, run, file.removeprefix("shards/")) for file in shards}
    elif "samples.parquet" in files:
        readers["samples"] = partial(store.samples, [run], validate=True)
    frames: dict[str, pd.DataFrame] = {}
    broken = []
    for name, read in readers.items():
        try:
            frames[name] = read()
        except GapbenchError as error:
            broken.append(_about(run, error))
    yield from broken
    if document.is_complete and not missing and not broken:  # rounds go on after the results were written
        yield from _disagreements(document, frames["samples"], frames["results"])


def _about(run: str, error: GapbenchError) -> str:
    return str(error).removeprefix(f"run {run}: ").removeprefix(f"run {run} ")


def _disagreements(document: Run, samples: pd.DataFrame, results: pd.DataFrame) -> Iterator[str]:
    counts = records.with_memory(samples).groupby(list(KEY)).agg(samples=("round", "size"), rounds=("round", "nunique"))
    rows = records.with_memory(results).drop_duplicates(list(KEY)).set_index(list(KEY))
    for key in counts.index.difference(rows.index):
        yield f"samples.parquet has {counts['samples'][key]} samples of {row_name(key)}, results.parquet has no row"
    for key, row in rows[rows["status"] == "ok"].iterrows():
        for column in ("samples", "rounds"):
            stated = 0 if pd.isna(row[column]) else int(row[column])
            stored = int(counts[column].get(key, 0))
            if stated != stored:
                yield f"{row_name(key)}: results.parquet counts {stated} {column}, samples.parquet has {stored}"
    if document.plan is not None:
        planned, present = {case.case for case in document.plan}, set(results["case"])
        yield from (f"{case} was planned and has no row in results.parquet" for case in sorted(planned - present))
        yield from (f"{case} is in results.parquet and was not planned" for case in sorted(present - planned))


def _notes(store: Store, run: str) -> Iterator[str]:
    try:
        ended = store.describe(run).is_complete
    except GapbenchError:
        return
    files = store.files(run)
    shards = [file for file in files if file.startswith("shards/")]
    if not ended:
        yield f"open: {counted(len(shards), 'round is', 'rounds are')} kept; resume with: gapbench run --resume {run}"
    elif shards:
        yield f"leftover: shards/ holds {counted(len(shards), 'file')} that samples.parquet has too; remove that folder"
    for file in files:
        if not _FILES.fullmatch(file):
            yield f"leftover: {file} is {'half a file' if file.endswith('.part') else 'not a file'} of a run"
