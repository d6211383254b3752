"""Import files of ``gapbench store export`` as runs, without torch; every value is validated."""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pandas as pd
from msgspec import Meta
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

_LONGEST_NAME, _LONGEST_TEXT = 200, 10_000

_TYPES: dict[str, Any] = {
    "string": Annotated[str, Meta(max_length=_LONGEST_TEXT)],
    "float64": Annotated[float, Meta(gt=-(2.0**1023), lt=2.0**1023)],
    "int32": Annotated[int, Meta(ge=-(2**31), lt=2**31)],
    "int64": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    "bool": bool | Literal[0, 1],  # numbers in exports of gapbench before 2026-12
}
"""What JSON may hold for each of Arrow's types."""

_LIST: Any = list
_SECONDS: Any = Annotated[list[Annotated[float, Meta(gt=0, lt=2.0**1023)]], Meta(min_length=1)]


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """An exported file, its digest, and the id of the run that was exported."""

    path: Path
    document: dict[str, Any]
    sha256: str
    run: str


def import_file(target: Store, path: Path, tag: str | None = None) -> Run:
    """Store a file of ``gapbench store export`` as a new run of ``target``, and return it.

    Its start is that of the exported run, and so is its id, but for the random end. Raises `GapbenchError` for a file
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
    rows = Counter((outcome.key, outcome.implementation) for outcome in outcomes)
    ((case, _, clock, _), implementation), count = rows.most_common(1)[0]
    if count > 1:
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
    benchmarks = _list(_mapping(document).get("benchmarks"))
    infos = [_mapping(_mapping(benchmark).get("extra_info")) for benchmark in benchmarks]
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
    """Return the run that a document describes, with more ``fields`` of it; what is malformed is None or empty."""
    ours = _mapping(_printed(_mapping(document.get("machine_info")).get("gapbench")))
    started = measured_at(document)
    try:
        own = decode({"run": "", **{field: ours.get(field) for field in ("machine", "versions", "warnings")}})
    except ValueError:
        own = Run(id="")
    git = _git(_mapping(document.get("commit_info")))
    return replace(own, started=timestamp(started) if started else None, git=git, **fields)


def _git(commit: Mapping[str, Any]) -> Git | None:
    identity = _name(commit.get("id")) or ""
    if not re.fullmatch("[0-9a-f]{7,64}", identity):
        return None  # 'unversioned'
    branch, dirty = _name(commit.get("branch")), commit.get("dirty")
    return Git(
        commit=identity, branch=None if branch == "(unknown)" else branch, subject=_name(commit.get("subject")),
        dirty=dirty if isinstance(dirty, bool) else None, diff_hash=_name(commit.get("diff_hash")),
    )  # fmt: skip


def _entries(export: Export) -> Iterator[tuple[Outcome, list[dict[str, Any]]]]:
    """Yield each benchmark's outcome and samples. Raises `GapbenchError` for a value that is malformed."""
    for number, benchmark in enumerate(export.document["benchmarks"], start=1):
        info = benchmark["extra_info"]
        title = f"{export.path}: {_name(benchmark.get('fullname')) or f'benchmark {number}'}"
        case, memory = _case(info.get("case")), _name(info.get("memory"))
        implementation, contender, clock = (_name(info.get(key)) for key in ("implementation", "contender", "clock"))
        if case is None or implementation is None or contender is None or clock is None:
            raise GapbenchError(f"{title}: extra_info must give case, implementation, contender and clock")
        seconds = _mapping(benchmark.get("stats")).get("data")
        seconds = _convert(seconds, _SECONDS, f"{title}: stats.data must be seconds, above 0")
        batch = {"seconds_per_call": seconds, **_batch(title, info["batch"], len(seconds))}
        kept = _kept(title, _mapping(info.get("kept")))
        case = dataclasses.replace(case, label=kept.pop("label", ""), weight=kept.pop("weight", 1))
        suite, reference, stopped_by = (kept.pop(name, None) for name in ("suite", "reference", "stopped_by"))
        qualification = Qualification(**kept)
        outcome = Outcome(suite, case, implementation, clock, qualification, stopped_by, reference, contender, memory)
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
        complaint = f"{title}: extra_info.batch.{column} must be {count} values of {kind}, as stats.data has"
        batch[column] = _convert(values, _LIST[_TYPES[kind] | None], complaint)
        if len(batch[column]) != count:
            raise GapbenchError(complaint)
    turns = {turn for turn in zip(batch.get("round", []), batch.get("turn", []), strict=False) if None not in turn}
    if len(turns) < count:
        raise GapbenchError(f"{title}: extra_info.batch must give every sample a round and turn of its own")
    return batch


def _kept(title: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an export keeps of a row of results, beside its samples."""
    kinds = {column: records.RESULTS[column] for column in KEPT if given.get(column) is not None}
    kept = {
        column: _convert(given[column], _TYPES[kind], f"{title}: extra_info.kept.{column} must be of {kind}")
        for column, kind in kinds.items()
    }
    if kept.get("status", "ok") != "ok":
        raise GapbenchError(f"{title}: extra_info.kept.status must be ok, since only ok rows are exported")
    return {column: bool(value) if kinds[column] == "bool" else value for column, value in kept.items()}


def _convert(value: Any, kind: Any, complaint: str) -> Any:
    """Return a value of JSON as a ``kind``, with printable texts. Raises `GapbenchError` with ``complaint``."""
    try:
        result = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise GapbenchError(complaint) from error
    if (plain := msgspec.to_builtins(result)) != _printed(plain):
        raise GapbenchError(complaint)
    return result


def _name(value: object) -> str | None:
    """Return a short text that can be printed on a line; None for any other value."""
    return value if isinstance(value, str) and value and _printable(value, _LONGEST_NAME) else None


def _printable(text: str, longest: int) -> bool:
    return text.isprintable() and len(text) <= longest


def _printed(value: Any) -> Any:
    """Return a value of JSON without texts that cannot be printed on a line."""
    if isinstance(value, dict):
        return {key: _printed(inner) for key, inner in value.items() if _printable(key, _LONGEST_NAME)}
    if isinstance(value, list):
        return [_printed(inner) for inner in value]
    return value if not isinstance(value, str) or _printable(value, _LONGEST_TEXT) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
