"""From files of ``gapbench store export`` back to stored runs, without torch; every value is checked for damage."""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec.structs import replace

from gapbench import __version__
from gapbench.analysis.summary import Outcome, results
from gapbench.errors import GapbenchError
from gapbench.repository.git import Git
from gapbench.store import records
from gapbench.store.pytest_benchmark import BATCH, KEPT, KEY
from gapbench.store.records import Qualification
from gapbench.store.run import Imported, Run, decode
from gapbench.store.store import Store, new_run_id, timestamp
from gapbench.workloads.cases import Case

_LONGEST = {"name": 200, "text": 10_000}


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """An exported file, its digest, and the id of the run that was exported."""

    path: Path
    document: dict[str, Any]
    sha256: str
    run: str


def import_file(target: Store, path: Path, tag: str | None = None) -> Run:
    """Store a file of ``gapbench store export`` as a new run of ``target``, and return it.

    The run's id and start are those of the exported run, but for the id's random end. Raises `GapbenchError` for a file
    that is not an export of gapbench, is damaged, or whose run is in ``target`` already.
    """
    export = load(path)
    outcomes, batches = zip(*_entries(export), strict=True)
    _refuse_duplicates(target, export, outcomes)
    samples = pd.DataFrame.from_records(list(chain.from_iterable(batches)), columns=list(records.SAMPLES))
    measured = results(samples, outcomes)
    run = description(
        export.document,
        tag=tag,
        suites=tuple(sorted(measured["suite"].dropna().unique())),
        imported=Imported(file=path.name, sha256=export.sha256, run=export.run, by=__version__),
    )
    writer = target.create(replace(run, id=new_run_id(run.commit, measured_at(export.document))))
    writer.append(samples)
    writer.finish(measured)
    return writer.run


def _refuse_duplicates(target: Store, export: Export, outcomes: Sequence[Outcome]) -> None:
    ((key, implementation), count) = Counter((one.key, one.implementation) for one in outcomes).most_common(1)[0]
    if count > 1:
        case, _, clock, _ = key
        raise GapbenchError(
            f"{export.path} is damaged: it has {implementation} on {case} by {clock} {count} times; export it again"
        )
    listing = target.listing()
    if export.run in listing.ids:
        raise GapbenchError(f"{export.path} is of run {export.run}, which is in {target.url} already")
    for run, row in listing.runs.items():
        if row.imported and row.imported.sha256 == export.sha256:
            raise GapbenchError(f"{export.path} was imported before, as run {run}")


def load(path: Path) -> Export:
    """Return the content of an exported file. Raises `GapbenchError` for a file that gapbench did not export."""
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except OSError as error:
        raise GapbenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise GapbenchError(f"{path} is not JSON ({error}); export the run again") from error
    # what pytest-benchmark writes itself, even of our suites, has no batches
    infos = [_mapping(_mapping(one).get("extra_info")) for one in _list(_mapping(document).get("benchmarks"))]
    runs = {_name(info.get("run")) if isinstance(info.get("batch"), dict) else None for info in infos}
    run = runs.pop() if len(runs) == 1 else None
    if run is None:
        raise GapbenchError(f"{path} is not an export of gapbench; write one with: gapbench store export RUN -o FILE")
    return Export(path, document, hashlib.sha256(content).hexdigest(), run)


def measured_at(document: Mapping[str, Any]) -> datetime | None:
    """Return when a document was written, None if it does not say; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(document["datetime"])
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def description(document: Mapping[str, Any], **fields: Any) -> Run:
    """Return the run that a document tells of, with more ``fields`` of it; what of it makes no sense is not known."""
    ours = _mapping(_printed(_mapping(document.get("machine_info")).get("gapbench")))
    started = measured_at(document)
    try:
        own = decode({"run": "", **{one: ours.get(one) for one in ("machine", "versions", "warnings")}})
    except ValueError:
        own = Run(id="")
    git = _git(_mapping(document.get("commit_info")))
    return replace(own, started=timestamp(started) if started else None, git=git, **fields)


def _git(commit: Mapping[str, Any]) -> Git | None:
    known = _name(commit.get("id")) or ""
    if not 7 <= len(known) <= 64 or set(known) - set("0123456789abcdef"):
        return None  # 'unversioned'
    branch, dirty = _name(commit.get("branch")), commit.get("dirty")
    return Git(
        commit=known,
        branch=None if branch == "(unknown)" else branch,
        subject=_name(commit.get("subject")),
        dirty=dirty if isinstance(dirty, bool) else None,
        diff_hash=_name(commit.get("diff_hash")),
    )


def _entries(export: Export) -> Iterator[tuple[Outcome, list[dict[str, Any]]]]:
    """Yield each benchmark's outcome and samples. Raises `GapbenchError` for values that cannot be."""
    for number, benchmark in enumerate(export.document["benchmarks"], start=1):
        info = benchmark["extra_info"]
        title = f"{export.path}: {_name(benchmark.get('fullname')) or f'benchmark {number}'}"
        case, memory = _case(info.get("case")), _name(info.get("memory"))
        implementation, contender, clock = (_name(info.get(key)) for key in ("implementation", "contender", "clock"))
        if case is None or implementation is None or contender is None or clock is None:
            raise GapbenchError(f"{title}: extra_info must give case, implementation, contender and clock")
        seconds = _mapping(benchmark.get("stats")).get("data")
        if not isinstance(seconds, list) or not seconds or not all(_fits("float64", s) and s > 0 for s in seconds):
            raise GapbenchError(f"{title}: stats.data must be seconds, above 0")
        batch = {"seconds_per_call": map(float, seconds), **_batch(title, info["batch"], len(seconds))}
        kept = _kept(title, _mapping(info.get("kept")))
        case = dataclasses.replace(case, label=kept.pop("label", ""), weight=kept.pop("weight", 1))
        suite, reference, stopped_by = (kept.pop(name, None) for name in ("suite", "reference", "stopped_by"))
        found = Qualification(**kept)
        outcome = Outcome(suite, case, implementation, clock, found, stopped_by, reference, contender, memory)
        row = dict(zip(KEY, (case.id, implementation, contender, clock, memory), strict=True))
        yield outcome, [row | dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def _case(text: object) -> Case | None:
    try:
        return Case.from_id(text) if isinstance(text, str) else None
    except (GapbenchError, ValueError):
        return None


def _batch(title: str, given: Mapping[str, Any], count: int) -> dict[str, list[Any]]:
    batch = {column: given[column] for column in BATCH if column in given}
    for column, values in batch.items():
        kind = records.SAMPLES[column]
        if not isinstance(values, list) or len(values) != count or not all(v is None or _fits(kind, v) for v in values):
            raise GapbenchError(
                f"{title}: extra_info.batch.{column} must be {count} values of {kind}, as stats.data has"
            )
    places = {place for place in zip(batch.get("round", []), batch.get("turn", []), strict=False) if None not in place}
    if len(places) < count:
        raise GapbenchError(f"{title}: extra_info.batch must give every sample a round and turn of its own")
    return {column: [_stored(records.SAMPLES[column], one) for one in values] for column, values in batch.items()}


def _kept(title: str, given: Mapping[str, Any]) -> dict[str, Any]:
    kept = {column: given[column] for column in KEPT if given.get(column) is not None}
    for column, value in kept.items():
        if not _fits(records.RESULTS[column], value):
            raise GapbenchError(f"{title}: extra_info.kept.{column} must be of {records.RESULTS[column]}")
    if kept.get("status", "ok") != "ok":
        raise GapbenchError(f"{title}: extra_info.kept.status must be ok; what has no time is no benchmark")
    return {column: _stored(records.RESULTS[column], value) for column, value in kept.items()}


def _fits(kind: str, value: Any) -> bool:
    """Tell whether a column of Arrow's type ``kind`` can hold ``value``, which is not None."""
    if kind == "string":
        return _printable(value, "text")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if kind == "float64":
        return abs(value) < 2**1023 and math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2 ** (int(kind.removeprefix("int")) - 1)


def _stored(kind: str, value: Any) -> Any:
    """Return a value that fits as Arrow takes it: JSON may write a float as an integer, however long."""
    return float(value) if kind == "float64" and value is not None else value


def _name(value: object) -> str | None:
    """Return a name if it can be printed on a line: no escape sequences, no novels; otherwise None."""
    return value if isinstance(value, str) and value and _printable(value, "name") else None


def _printable(value: object, what: str) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST[what]


def _printed(value: Any) -> Any:
    """Return a value of JSON without texts that cannot be printed on a line."""
    if isinstance(value, dict):
        return {key: _printed(inner) for key, inner in value.items() if _printable(key, "name")}
    if isinstance(value, list):
        return [_printed(inner) for inner in value]
    return value if not isinstance(value, str) or _printable(value, "text") else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
