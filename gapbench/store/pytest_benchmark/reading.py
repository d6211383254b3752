"""What a file of pytest-benchmark says, whoever wrote it. It is believed in nothing that it does not say."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gapbench import records
from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.git import Git
from gapbench.run import Machine, Run
from gapbench.store.documents import decode
from gapbench.store.pytest_benchmark import BATCH, CLOCK, KEPT
from gapbench.store.writer import timestamp

_LONGEST = {"name": 200, "text": 10_000}


@dataclass(frozen=True, slots=True)
class Entry:
    """One benchmark of a file that is a case of ours.

    ``seconds`` are its samples in seconds per call, empty where the file has no ``data``; ``median`` is the file's own.
    ``calls`` is None where it is not known, ``batch`` and ``kept`` hold as much of `BATCH` and `KEPT` as there is.
    """

    case: Case
    implementation: str
    contender: str
    clock: str
    seconds: list[float]
    median: float
    calls: int | None
    batch: dict[str, list[Any]]
    kept: dict[str, Any]


def load(path: Path) -> tuple[dict[str, Any], str]:
    """Return a file's document and its digest. Raises `GapbenchError` for what is no JSON of pytest-benchmark."""
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except OSError as error:
        raise GapbenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise GapbenchError(f"{path} is not JSON ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
        raise GapbenchError(
            f"{path} is not of pytest-benchmark: it has no list benchmarks; write it by --benchmark-json"
        )
    return document, hashlib.sha256(content).hexdigest()


def measured_at(document: Mapping[str, Any]) -> datetime | None:
    """Return when a document was written, None if it does not say; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(document["datetime"])
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def description(document: Mapping[str, Any], **fields: Any) -> Run:
    """Return the run that a document tells of, with more ``fields`` of it; what of it makes no sense is not known."""
    machine = _mapping(document.get("machine_info"))
    cpu, ours = _mapping(machine.get("cpu")), _mapping(_printed(machine.get("gapbench")))
    started = measured_at(document)
    theirs = Machine(
        cpu=name(cpu.get("brand_raw")) or name(cpu.get("brand")),
        logical_cores=cpu["count"] if _fits("int32", cpu.get("count")) else None,
        system=" ".join(filter(None, (name(machine.get("system")), name(machine.get("release"))))) or None,
    )
    try:
        own = decode({"run": "", **{one: ours.get(one) for one in ("machine", "versions", "warnings")}})
    except ValueError:
        own = Run(id="")
    return replace(
        own,
        started=timestamp(started) if started else None,
        git=_git(_mapping(document.get("commit_info"))),
        machine=theirs if own.machine == Machine() else own.machine,
        versions=own.versions or {"python": name(machine.get("python_version"))},
        **fields,
    )


def _git(commit: Mapping[str, Any]) -> Git | None:
    known = name(commit.get("id")) or ""
    if not 7 <= len(known) <= 64 or set(known) - set("0123456789abcdef"):
        return None  # 'unversioned', 'unknown'
    branch, dirty = name(commit.get("branch")), commit.get("dirty")
    return Git(
        commit=known,
        branch=None if branch in ("(unknown)", "(detached head)") else branch,
        subject=name(commit.get("subject")),
        dirty=dirty if isinstance(dirty, bool) else None,
        diff_hash=name(commit.get("diff_hash")),
    )


def entries(document: Mapping[str, Any]) -> Iterator[Entry | str]:
    """Yield every benchmark: as an `Entry` if its ``extra_info`` has a case and an implementation, or else its name.

    Raises `GapbenchError` for an entry whose numbers cannot be what they claim to be.
    """
    for number, one in enumerate(document["benchmarks"], start=1):
        benchmark = _mapping(one)
        info = _mapping(benchmark.get("extra_info"))
        title = name(benchmark.get("fullname")) or name(benchmark.get("name")) or f"benchmark {number}"
        case, implementation = _case(info.get("case")), name(info.get("implementation"))
        if case is None or implementation is None:
            yield title
            continue
        stats = _mapping(benchmark.get("stats"))
        seconds, median = stats.get("data") or [], stats.get("median")
        if not isinstance(seconds, list) or not all(_fits("float64", s) and s > 0 for s in [*seconds, median or 0]):
            raise GapbenchError(f"{title}: stats.median and stats.data must be seconds, above 0")
        # what gapbench writes is replayed or per call: its iterations are not the calls that were timed
        calls = None if "run" in info else stats.get("iterations")
        yield Entry(
            case,
            implementation,
            name(info.get("contender")) or records.THIS,
            name(info.get("clock")) or CLOCK,
            [float(value) for value in seconds],
            float(stats["median"]),
            calls if _fits("int32", calls) else None,
            _batch(title, _mapping(info.get("batch")), len(seconds)),
            _kept(title, _mapping(info.get("kept"))),
        )


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
    if batch and len(places) < count:
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


def name(value: object) -> str | None:
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


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
